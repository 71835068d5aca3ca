"""What a model samples: the options of its methods, what a sample costs, and sampling in batches."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from pydantic import BaseModel, ConfigDict, create_model
from torch import Tensor

from genlab.core import rng
from genlab.core.model import HasPath, Model, Samples
from genlab.errors import ConfigError
from genlab.registry import check_keywords, signature_schema

OPEN_METHODS = ("sample", "denoise", "inpaint")  # whose options are keys of the command of the same name


def sample_options(model: Samples) -> type[BaseModel]:
    """The schema of the parameters of `sample` after `n`: the options of `genlab sample RUN key=value`."""
    return method_options(model, "sample")


def method_options(model: object, method: str) -> type[BaseModel]:
    """The schema of the parameters of a model's method that have a default; empty if the model lacks the method."""
    function = getattr(type(model), "path" if method == "sample" and isinstance(model, HasPath) else method, None)
    if function is None:
        return create_model(method, __config__=ConfigDict(extra="forbid"))
    parameters = inspect.signature(function).parameters.values()
    return signature_schema(function, tuple(each.name for each in parameters if each.default is each.empty))


def checked_options(model: Samples, given: Mapping[str, Any] | None, key: str) -> dict[str, Any]:
    """The options of `sample` that `key` of the configuration gives; ConfigError for one that it does not take, or
    that a model which samples step by step refuses."""
    options = check_keywords(sample_options(model), given or {}, key)
    if isinstance(model, HasPath):
        rehearse(model, lambda: model.sample(1, **options), key)
    return options


def rehearse(model: HasPath, call: Callable[[], Any], key: str) -> None:
    """`call` up to where it first needs the network: ConfigError, which names `key`, if it is refused before that.

    Random numbers that follow stay what they would have been.
    """

    def stop(*_: object) -> NoReturn:
        raise _Reached

    handle = model.network.register_forward_pre_hook(stop)
    try:
        with rng.aside(next(itertools.chain(model.network.parameters(), model.network.buffers())).device):
            call()
    except _Reached:
        pass
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None
    finally:
        handle.remove()


class _Reached(Exception):
    """The network is called."""


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
    label = options.get("label")
    turn = (
        len(label) if isinstance(label, list) else (classes_in_turn(model) if isinstance(model, Model) else None) or 1
    )
    size = max(1, batch_size // turn) * turn
    for start in range(0, n, size):
        yield model.sample(min(size, n - start), **options)
