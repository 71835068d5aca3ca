"""Exact conversion of nested Python values to JSON and back, including tuples, infinities and non-string keys.

Such a value becomes an object with the key "$", which says what it stands for. Decoding makes plain values only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TAG = "$"
DEPTH_LIMIT = 100  # levels of nesting; a deeper one is an attack on the stack


@dataclass(frozen=True)
class TensorRef:
    """Stands for the tensor of this name; `channels_last` is the memory layout that it had."""

    name: str
    channels_last: bool = False


def encode(value: Any, path: str = "state", depth: int = 0) -> Any:
    """`value` as JSON that `decode` turns into an equal one. TypeError for an unknown type."""
    if depth > DEPTH_LIMIT // 2:  # a mark adds a level, and what cannot be read must not be written
        raise ValueError(f"{path} is nested too deeply for a checkpoint")
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {TAG: "float", "v": repr(float(value))}
    if isinstance(value, TensorRef):
        return {TAG: "tensor", "v": [value.name, value.channels_last]}
    if isinstance(value, list | tuple):
        items = [encode(item, f"{path}/{index}", depth + 1) for index, item in enumerate(value)]
        return items if isinstance(value, list) else {TAG: "tuple", "v": items}
    if isinstance(value, Mapping):
        pairs = [(key, encode(item, f"{path}/{key}", depth + 1)) for key, item in value.items()]
        if all(isinstance(key, str) and key != TAG for key in value):
            return dict(pairs)
        return {TAG: "dict", "v": [[encode(key, path, depth + 1), item] for key, item in pairs]}
    raise TypeError(
        f"{path} is a {type(value).__name__}: a checkpoint holds tensors, numbers, strings, None and "
        f"dicts, lists and tuples of them"
    )


def decode(value: Any, depth: int = 0) -> Any:
    """The inverse of `encode`. ValueError for any other JSON."""
    if depth > DEPTH_LIMIT:
        raise ValueError("nested too deeply")
    if isinstance(value, list):
        return [decode(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if TAG not in value:
        return {key: decode(item, depth + 1) for key, item in value.items()}
    match value:
        case {"$": "float", "v": "inf" | "-inf" | "nan" as text, **rest} if not rest:
            return float(text)
        case {"$": "tensor", "v": [str() as name, bool() as channels_last], **rest} if not rest:
            return TensorRef(name, channels_last)
        case {"$": "tuple", "v": list() as items, **rest} if not rest:
            return tuple(decode(item, depth + 1) for item in items)
        case {"$": "dict", "v": list() as pairs, **rest} if not rest:
            return _decode_pairs(pairs, depth + 1)
    raise ValueError(f"unknown mark {str(value)[:80]}")


def _decode_pairs(pairs: list[Any], depth: int) -> dict[Any, Any]:
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise ValueError("a dictionary's pairs are malformed")
    try:
        result = {decode(key, depth): decode(item, depth) for key, item in pairs}
    except TypeError:
        raise ValueError("a dictionary has a key that cannot be one") from None
    if len(result) != len(pairs):
        raise ValueError("a key stands twice in one dictionary")
    return result
