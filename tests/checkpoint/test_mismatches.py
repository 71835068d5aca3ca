"""Nothing is loaded into objects that a checkpoint does not fit; all that is wrong is listed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from genlab.checkpoint.manager import pack, unpack
from genlab.errors import CheckpointError
from tests.support.checkpoint_objects import Holder, identical, net, train, training_objects


def _changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    objects = training_objects("fused Adam")
    change(objects)
    return objects


def _replace_layer(objects: dict[str, Any], index: int, layer: nn.Module) -> None:
    objects["model"][index] = layer


MISMATCHES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "wider": (lambda o: o.update(training_objects("fused Adam", width=7)), r"\(6, 144\) float32 .*\(7, 144\) float32"),
    "layer more": (lambda o: o["model"].append(nn.Linear(6, 2)), r"model/5.weight is not in the checkpoint"),
    "layer less": (lambda o: o["model"].pop(4), r"model/4.weight is only in the checkpoint"),
    "other norm": (lambda o: _replace_layer(o, 1, nn.InstanceNorm2d(4)), r"model/1.\w+ is only in the checkpoint"),
    "other dtype": (lambda o: o["model"].double(), r"float32 in the checkpoint, .*float64 here"),
    "no average": (lambda o: o.pop("ema"), r"'ema' is only in the checkpoint"),
    "another player": (lambda o: o.update(critic=nn.Linear(2, 2)), r"'critic' is not in the checkpoint"),
    "other optimizer": (
        lambda o: o.update(optimizer=torch.optim.SGD(o["model"].parameters(), 0.1)),
        r"optimizer is Adam in the checkpoint, SGD here",
    ),
    "groups joined": (
        lambda o: o.update(optimizer=torch.optim.Adam(o["model"].parameters(), 0.1)),
        r"optimizer belongs to parameters of other shapes",
    ),
    "optimizer of another net": (
        lambda o: o.update(optimizer=training_objects("fused Adam", width=7)["optimizer"]),
        r"optimizer belongs to parameters of other shapes",
    ),
    "state key more": (lambda o: o["run"].state.update(epoch=1), r"run/epoch is not in the checkpoint"),
    "state key less": (lambda o: o["run"].state.pop(3), r"run/3 is only in the checkpoint"),
    "rng of another length": (lambda o: o["run"].state.update(rng=torch.zeros(9, dtype=torch.uint8)), r"run/rng is"),
    "tensor for a number": (lambda o: o["run"].state.update({3: torch.zeros(1)}), r"run/3 is a str"),
    "module for a holder": (lambda o: o.update(run=nn.Linear(1, 1)), r"run/weight is not in the checkpoint"),
    "optimizer for a holder": (lambda o: o.update(run=o["optimizer"]), r"run is no optimizer in the checkpoint"),
}


@pytest.mark.parametrize("case", MISMATCHES)
def test_mismatches_are_listed_and_nothing_is_loaded(case: str) -> None:
    change, message = MISMATCHES[case]
    source = training_objects("fused Adam")
    train(source, range(2))
    tensors, structure = pack(source)
    target = _changed(change)
    before = copy.deepcopy({name: thing.state_dict() for name, thing in target.items()})
    with pytest.raises(CheckpointError, match=message) as caught:
        unpack(target, tensors, structure)
    assert "\n" not in str(caught.value)
    for name, thing in target.items():
        assert identical(dict(thing.state_dict()), dict(before[name])), name


def test_some_objects_can_be_left_out_with_their_structure() -> None:
    source = training_objects("fused Adam")
    train(source, range(1))
    tensors, structure = pack(source)
    model = net()
    with pytest.raises(CheckpointError, match="optimizer"):
        unpack({"model": model}, tensors, structure)
    unpack({"model": model}, tensors, {"model": structure["model"]})
    assert identical(dict(model.state_dict()), dict(source["model"].state_dict()))
    with pytest.raises(CheckpointError, match="decoder"):
        unpack({"decoder": model}, tensors, {"model": structure["model"]})


@pytest.mark.parametrize("structure", [None, [], {"model": None}, {"model": {}}, {"model": {"state": None}}, {}])
def test_a_structure_that_is_none(structure: Any) -> None:
    with pytest.raises(CheckpointError):
        unpack({"model": net()}, {}, structure)


def test_missing_tensors_are_found_before_loading() -> None:
    model = net()
    tensors, structure = pack({"model": model, "run": Holder({"x": [torch.ones(1)]})})
    del tensors["run/x/0"]
    with pytest.raises(CheckpointError, match="run/x/0"):
        unpack({"model": net(), "run": Holder({"x": [torch.ones(1)]})}, tensors, structure)


def test_an_object_that_refuses_its_state() -> None:
    class Picky(Holder):
        def load_state_dict(self, state: Any) -> None:
            raise ValueError("not mine")

    tensors, structure = pack({"run": Holder({"a": 1})})
    with pytest.raises(CheckpointError, match=r"'run' refuses .*not mine"):
        unpack({"run": Picky({"a": 2})}, tensors, structure)


def test_state_that_is_filled_later_may_be_none_here() -> None:
    tensors, structure = pack({"run": Holder({"mean": torch.ones(2), "history": {"a": 1}, "best": 3.5})})
    target = Holder({"mean": None, "history": {}, "best": None})
    unpack({"run": target}, tensors, structure)
    assert target.state["mean"].equal(torch.ones(2))
    assert target.state["history"] == {"a": 1}
    assert target.state["best"] == 3.5
