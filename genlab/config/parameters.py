"""A schema in words: what `genlab info`, `--help` and shell completion show of each parameter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel


class Parameter(NamedTuple):
    name: str
    default: str  # as JSON; "" if the parameter is required
    allowed: str  # `integer > 0`, `euler | heun`
    choices: list[str]  # values to choose from, if there are few
    meaning: str


def parameters(schema: type[BaseModel]) -> list[Parameter]:
    """The fields of a schema as made by `registry.signature_schema`, in their order."""
    described = schema.model_json_schema()
    definitions = described.get("$defs", {})
    found = []
    for name, field in described["properties"].items():
        default = json.dumps(field["default"], ensure_ascii=False) if "default" in field else ""
        allowed, choices = _allowed(field, definitions), _choices(field, definitions)
        found.append(Parameter(name, default, allowed, choices, field.get("description", "")))
    return found


def _members(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The schemas of a union, or the one schema itself."""
    if "$ref" in field:
        field = definitions[field["$ref"].rpartition("/")[2]]
    return [each for item in field["anyOf"] for each in _members(item, definitions)] if "anyOf" in field else [field]


def _choices(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for member in _members(field, definitions):
        found += ["true", "false"] if member.get("type") == "boolean" else []
        found += map(str, member.get("enum", [member["const"]] if "const" in member else []))
    return found


def _allowed(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    return " or ".join(dict.fromkeys(_kind(member, definitions) for member in _members(field, definitions)))


def _kind(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "enum" in field or "const" in field:
        return " | ".join(_choices(field, definitions))
    kind = str(field.get("type", "any"))
    if kind == "array":
        items = field.get("prefixItems") or [field.get("items", {})]
        rest = "" if "prefixItems" in field else ", ..."
        return f"[{', '.join(_allowed(item, definitions) for item in items)}{rest}]"
    if kind == "string" and "pattern" in field:
        return 'a length such as "5%" or "2ep"' if "%|ep" in field["pattern"] else f"text like {field['pattern']}"
    words = {"string": "text", "object": "keys: name, ...", "boolean": "true | false"}
    bounds = [(">", "exclusiveMinimum"), ("≥", "minimum"), ("<", "exclusiveMaximum"), ("≤", "maximum")]
    limits = [f"{sign} {field[name]:g}" for sign, name in bounds if name in field and abs(field[name]) < 2**31]
    return " ".join([words.get(kind, kind), *limits])
