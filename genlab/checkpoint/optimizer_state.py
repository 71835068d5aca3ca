"""Whether the saved state of an optimizer is one that the live optimizer can use, down to each parameter's entries."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from genlab.checkpoint.codec import TensorRef

BAD_VALUES = (RuntimeError, ValueError, KeyError, TypeError, AttributeError)


def layout(optimizer: Optimizer) -> dict[str, Any]:
    """The parameters of an optimizer, to compare; before the first step its own state is empty."""
    groups = [[(tuple(p.shape), str(p.dtype)) for p in group["params"]] for group in optimizer.param_groups]
    return {"class": type(optimizer).__name__, "groups": groups}


def problems(
    name: str, optimizer: Optimizer, record: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> Iterator[str]:
    """What keeps `optimizer` from using the state in `record`, as sentences."""
    here, saved = layout(optimizer), record.get("optimizer")
    if not isinstance(saved, dict) or here["class"] != saved.get("class"):
        kind = saved.get("class") if isinstance(saved, dict) else "no optimizer"
        yield f"{name} is {kind} in the checkpoint, {here['class']} here"
    elif here["groups"] != saved.get("groups"):
        yield f"{name} belongs to parameters of other shapes or dtypes, or other groups of them"
    else:
        yield from _state_problems(name, optimizer, record["state"], tensors)


def _state_problems(name: str, optimizer: Optimizer, state: Any, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    wanted = optimizer.state_dict()["param_groups"]
    if not isinstance(state, dict) or not isinstance(state.get("state"), dict):
        yield f"{name} has no state"
        return
    groups = state.get("param_groups")
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        yield f"{name} has no groups of parameters"
    elif [group.get("params") for group in groups] != [group["params"] for group in wanted]:
        yield f"{name} lists other parameters"
    elif isinstance(wanted[0].get("lr"), float) and not all(isinstance(group.get("lr"), float) for group in groups):
        yield f"{name} has no learning rate"
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, entries in state["state"].items():
        if type(index) is not int or not 0 <= index < len(parameters) or not isinstance(entries, dict):
            yield f"{name}/state/{index} belongs to no parameter"
        elif not _matches(entries, parameters[index], tensors, _reference_entries(optimizer, parameters[index])):
            yield f"{name}/state/{index} has other entries than {type(optimizer).__name__} makes"


def _reference_entries(optimizer: Optimizer, parameter: Tensor) -> dict[str, Any] | None:
    """What the optimizer keeps of a parameter, found by a step of a copy on one with sides of 2; None if that fails."""
    small = parameter.new_zeros((2,) * parameter.ndim).requires_grad_()
    small.grad = torch.zeros_like(small)
    try:
        probe = copy.copy(optimizer)
        probe.state = defaultdict(dict)
        probe.param_groups = [{**optimizer.param_groups[0], "params": [small]}]
        probe.step()
    except BAD_VALUES:  # an optimizer of a plug-in may need more
        return None
    return dict(probe.state[small])


def _matches(
    entries: Mapping[str, Any], parameter: Tensor, tensors: Mapping[str, Tensor], reference: Mapping[str, Any] | None
) -> bool:
    """Whether saved entries have the names of the reference entries, and shapes that follow from the parameter's."""
    if reference is None:
        return True
    return entries.keys() == reference.keys() and all(
        _same_kind(tensors.get(entry.name) if isinstance(entry, TensorRef) else entry, reference[name], parameter)
        for name, entry in entries.items()
    )


def _same_kind(saved: Any, reference: Any, parameter: Tensor) -> bool:
    if not isinstance(reference, Tensor):
        return type(saved) is type(reference)
    if not isinstance(saved, Tensor) or saved.ndim != reference.ndim:
        return False
    moment = reference.ndim > 0 and reference.shape == (2,) * parameter.ndim
    return saved.shape == parameter.shape or not moment
