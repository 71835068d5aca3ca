"""Reads and writes config.yaml: plain, bounded YAML that cannot run code."""

from __future__ import annotations

from typing import Any

import yaml

NODES_LIMIT, DEPTH_LIMIT = 20_000, 50

# the C versions are many times faster; both are "safe": no tag constructs anything but plain values
_BaseLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BaseDumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Loader(_BaseLoader):  # type: ignore[misc,valid-type]
    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        result = super().construct_mapping(node, deep)
        if len(result) != len(node.value):
            raise ValueError("a key stands twice in one mapping")
        return result


class _Dumper(_BaseDumper):  # type: ignore[misc,valid-type]
    def ignore_aliases(self, data: Any) -> bool:
        return True


def dump_config(config: dict[str, Any]) -> bytes:
    """YAML of a resolved configuration, keys in their order, without aliases."""
    return yaml.dump(config, Dumper=_Dumper, sort_keys=False, allow_unicode=True).encode()


def parse_config(data: bytes) -> dict[str, Any]:
    """The mapping in `data`. ValueError for anything but bounded, plain YAML without aliases or duplicate keys.

    Plain: what JSON has too, so neither dates without quotes nor keys that are not text.
    """
    try:
        _check(data)
        value = yaml.load(data, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, UnicodeError, OverflowError, TypeError) as error:
        raise ValueError(" ".join(str(error).split())[:200] or "not YAML") from None
    if not isinstance(value, dict):
        raise ValueError("it holds no mapping")
    _check_plain(value)
    return value


def _check(data: bytes) -> None:
    """Walk the events, which come one by one, before anything is built from them."""
    depth = 0
    for count, event in enumerate(yaml.parse(data, Loader=_BaseLoader)):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("aliases are not allowed")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_LIMIT or count > NODES_LIMIT:
            raise ValueError("it is nested too deeply or too large")


def _check_plain(value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"the key {str(key)[:60]} is not text: put it in quotes")
            _check_plain(item)
    elif isinstance(value, list):
        for item in value:
            _check_plain(item)
    elif value is not None and not isinstance(value, str | int | float):
        raise ValueError(f"{str(value)[:60]} is a {type(value).__name__}: put it in quotes")
