"""State dictionaries to named tensors and a plain structure, and back, exactly.

`pack` takes the tensors out of nested state dictionaries and leaves a `TensorRef` where each was. `unpack` compares
everything with the objects that shall receive it before it loads anything.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from genlab.checkpoint import optimizer_state
from genlab.checkpoint.codec import TensorRef
from genlab.errors import CheckpointError

PIECE = 2**15  # elements: too few for torch to use several threads, which training needs


class HasStateDict(Protocol):
    """Modules, optimizers, scalers, and any other object whose state a checkpoint holds."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state_dict: Any, /) -> Any: ...


def pack(
    objects: Mapping[str, HasStateDict], earlier: Mapping[str, Tensor] | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A snapshot: contiguous CPU copies of all tensors under unique names, and the structure they came from.

    The memory of `earlier`, a snapshot that nobody needs any more, is used again if shapes and dtypes are the same.
    Copies from a GPU lie in pinned memory and are made without waiting for each other.
    """
    tensors: dict[str, Tensor] = {}
    structure: dict[str, Any] = {}
    for name, target in objects.items():
        state = target.state_dict()
        record = {"state": _take_out(state, name, tensors, earlier or {})}
        if isinstance(target, nn.Module):
            record["metadata"] = {key: dict(value) for key, value in state._metadata.items()}
        if isinstance(target, Optimizer):
            record["optimizer"] = optimizer_state.layout(target)
        structure[name] = record
    if any(tensor.is_pinned() for tensor in tensors.values()):
        torch.cuda.synchronize()
    return tensors, structure


def _take_out(value: Any, path: str, tensors: dict[str, Tensor], earlier: Mapping[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        while path in tensors:  # the keys 0 and "0" of one dictionary
            path += "~"
        # one copy, whatever the device, the strides and what else shares the storage
        tensors[path] = _copy(value.detach(), earlier.get(path))
        last = value.ndim == 4 and value.is_contiguous(memory_format=torch.channels_last)
        return TensorRef(path, last and not value.is_contiguous())
    if isinstance(value, Mapping):
        return {key: _take_out(item, f"{path}/{key}", tensors, earlier) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_take_out(item, f"{path}/{index}", tensors, earlier) for index, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    return value


def _copy(value: Tensor, memory: Tensor | None) -> Tensor:
    """A contiguous copy of `value` on the CPU, in `memory` if it fits."""
    on_gpu = value.device.type == "cuda"
    if memory is None or memory.shape != value.shape or memory.dtype != value.dtype or memory.is_pinned() != on_gpu:
        memory = torch.empty(value.shape, dtype=value.dtype, pin_memory=on_gpu)
    return memory.copy_(value, non_blocking=on_gpu)


def unpack(objects: Mapping[str, HasStateDict], tensors: Mapping[str, Tensor], structure: Any) -> None:
    """Load into `objects` the state that `pack` took from objects of the same structure.

    CheckpointError lists the first keys, shapes and dtypes that differ; nothing is loaded then. Objects do
    not share tensors.
    """
    if not isinstance(structure, dict) or not all(isinstance(v, dict) and "state" in v for v in structure.values()):
        raise CheckpointError("the checkpoint does not say which objects it holds", "state.json", "use another one")
    problems = [f"'{name}' is only in the checkpoint" for name in structure if name not in objects]
    for name, target in objects.items():
        problems += _problems(name, target, structure.get(name), tensors)
    if problems:
        shown = ", ".join(problems[:5]) + (f" and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise CheckpointError(
            f"the checkpoint does not fit: {shown}",
            "nothing was loaded",
            "use the configuration that it was saved with",
        )
    for name, target in objects.items():
        record = structure[name]
        state = _put_back(record["state"], tensors, copy=not isinstance(target, nn.Module))
        if isinstance(target, nn.Module):
            state = OrderedDict(state)
            state._metadata = OrderedDict(record.get("metadata") or {})  # type: ignore[attr-defined]
        try:
            target.load_state_dict(state)
        except optimizer_state.BAD_VALUES as error:
            raise CheckpointError(
                f"'{name}' refuses its state from the checkpoint ({error})",
                "state.json",
                "use the configuration that it was saved with",
            ) from error


def _put_back(value: Any, tensors: Mapping[str, Tensor], copy: bool) -> Any:
    if isinstance(value, TensorRef):
        tensor = tensors[value.name]
        if value.channels_last and tensor.ndim == 4:
            return tensor.contiguous(memory_format=torch.channels_last)
        return tensor.clone() if copy else tensor
    if isinstance(value, dict):
        return {key: _put_back(item, tensors, copy) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_put_back(item, tensors, copy) for item in value)
    return value


def _problems(name: str, target: HasStateDict, record: Any, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    if record is None:
        yield f"'{name}' is not in the checkpoint"
        return
    yield from (f"tensor '{lost}' is missing" for lost in _refs(record["state"]) if lost not in tensors)
    if isinstance(target, Optimizer):
        yield from optimizer_state.problems(name, target, record, tensors)
    else:
        strict = isinstance(target, nn.Module)
        metadata = record.get("metadata", {})
        if not isinstance(metadata, dict) or not all(isinstance(each, dict) for each in metadata.values()):
            yield f"'{name}' has no metadata"
        yield from _differences(target.state_dict(), record["state"], tensors, name, strict)


def _refs(value: Any) -> Iterator[str]:
    if isinstance(value, TensorRef):
        yield value.name
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _refs(item)


def _differences(here: Any, saved: Any, tensors: Mapping[str, Tensor], path: str, strict: bool) -> Iterator[str]:
    """Mismatches between the states of a live and a saved object. Numbers may differ.

    Unless `strict`, a value that is None or empty here may be anything in the checkpoint: it is filled later.
    """
    if isinstance(here, Mapping) and isinstance(saved, dict):
        if not here and not strict:
            return
        yield from (f"{path}/{key} is only in the checkpoint" for key in saved if key not in here)
        yield from (f"{path}/{key} is not in the checkpoint" for key in here if key not in saved)
        for key in (key for key in here if key in saved):
            yield from _differences(here[key], saved[key], tensors, f"{path}/{key}", strict)
    elif isinstance(here, Tensor) and isinstance(saved, TensorRef):
        tensor = tensors.get(saved.name)
        if tensor is not None and (tensor.shape != here.shape or tensor.dtype != here.dtype):
            yield f"{path} is {_kind(tensor)} in the checkpoint, {_kind(here)} here"
    elif isinstance(here, float | int) and not isinstance(saved, float | int):
        yield f"{path} is not a number in the checkpoint"
    elif isinstance(here, Tensor | Mapping) or (isinstance(saved, TensorRef | dict) and (strict or here is not None)):
        yield f"{path} is a {type(saved).__name__} in the checkpoint, a {type(here).__name__} here"


def _kind(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def non_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that hold a NaN or an infinity: weights, buffers, averages, moments."""
    return [name for name, tensor in tensors.items() if not _finite(tensor)]


def _finite(tensor: Tensor) -> bool:
    if tensor.numel() == 0 or not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    if tensor.itemsize == 1:  # float8 has no arithmetic
        tensor = tensor.float()
    return all(_ends_finite(piece) for piece in tensor.detach().reshape(-1).split(PIECE))


def _ends_finite(piece: Tensor) -> bool:
    low, high = piece.aminmax()  # a NaN anywhere makes both NaN; needs no memory of the tensor's size
    return math.isfinite(low) and math.isfinite(high)
