"""Samples of a model: the options of `sample`, what they cost, and sampling in batches."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from torch import Tensor

from genlab.core.model import HasPath, Model, Samples
from genlab.registry import check_keywords, signature_schema


def sample_options(model: Samples) -> type[BaseModel]:
    """The schema of the parameters of `sample` after `n`: the options of `genlab sample RUN key=value`."""
    function = type(model).path if isinstance(model, HasPath) else type(model).sample
    return signature_schema(function, tuple(inspect.signature(function).parameters)[:2])


def checked_options(model: Samples, given: Mapping[str, Any] | None, key: str) -> dict[str, Any]:
    """The options of `sample` that `key` of the configuration gives; ConfigError for one that it does not take."""
    return check_keywords(sample_options(model), given or {}, key)


def network_calls(model: HasPath, **options: Any) -> int:
    """How many calls of its network a sample with these options takes; counted on one, which costs as much."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    handle = model.network.register_forward_hook(count)
    try:
        model.sample(1, **options)
    finally:
        handle.remove()
    return calls


def classes_in_turn(model: Model) -> int | None:
    """The number of classes through which the samples of each call cycle; None if `sample` takes no label."""
    takes_label = isinstance(model, Samples) and "label" in sample_options(model).model_fields
    return getattr(model, "num_classes", None) or None if takes_label else None


def sample_batches(model: Samples, n: int, batch_size: int, **options: Any) -> Iterator[Tensor]:
    """`n` samples in batches of about `batch_size`; all but the last hold whole cycles of the classes: 250, 250."""
    turn = (classes_in_turn(model) if isinstance(model, Model) else None) or 1
    size = max(1, batch_size // turn) * turn
    for start in range(0, n, size):
        yield model.sample(min(size, n - start), **options)
