"""Nested state dictionaries survive exactly, and nothing is loaded into objects that they do not fit."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from genlab.checkpoint import Checkpoints, non_finite, pack, read, unpack
from genlab.codec import TensorRef, decode, encode
from genlab.errors import CheckpointError
from genlab.files import dump_json, parse_json
from genlab.tensorfile import NAMES, write_tensors


class Holder:
    """An object of ours with any state, as a trainer's counters or a scheduler."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def state_dict(self) -> Any:
        return self.state

    def load_state_dict(self, state: Any) -> None:
        self.state = state


def net(width: int = 6) -> nn.Module:
    torch.manual_seed(width)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.utils.spectral_norm(nn.Linear(144, width)), nn.PReLU()
    )


OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]]], torch.optim.Optimizer]] = {
    "fused Adam": lambda groups: torch.optim.Adam(groups, lr=1e-2, betas=(0.5, 0.999), fused=True),
    "foreach AdamW, amsgrad": lambda groups: torch.optim.AdamW(groups, lr=1e-2, amsgrad=True, foreach=True),
    "SGD with momentum": lambda groups: torch.optim.SGD(groups, lr=1e-2, momentum=0.9, nesterov=True),
    "SGD before its first step": lambda groups: torch.optim.SGD(groups, lr=1e-2, momentum=0.9),
    "RMSprop": lambda groups: torch.optim.RMSprop(groups, lr=1e-2, centered=True),
    "Adafactor": lambda groups: torch.optim.Adafactor(groups, lr=1e-2),
    "Adam with a tensor as rate": lambda groups: torch.optim.Adam(groups, lr=torch.tensor(0.01)),
}


def _objects(kind: str, width: int = 6) -> dict[str, Any]:
    model = net(width)
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = OPTIMIZERS[kind]([{"params": weights}, {"params": others, "weight_decay": 0.0, "lr": 3e-3}])
    return {
        "model": model,
        "optimizer": optimizer,
        "schedule": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20),
        "scaler": torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2),
        "ema": torch.optim.swa_utils.AveragedModel(model, use_buffers=True),
        "run": Holder({"rng": torch.get_rng_state(), "best": (None, math.inf), 3: "three"}),
    }


def _train(objects: dict[str, Any], steps: range) -> None:
    for step in steps:
        image = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(step))
        loss = objects["model"](image).square().mean()
        objects["optimizer"].zero_grad()
        objects["scaler"].scale(loss).backward()
        objects["scaler"].step(objects["optimizer"])
        objects["scaler"].update()
        objects["schedule"].step()
        objects["ema"].update_parameters(objects["model"])


def _same(a: Any, b: Any) -> bool:
    """Equal in type, in order and to the bit, all the way down."""
    if isinstance(a, Tensor):
        return (
            isinstance(b, Tensor)
            and a.dtype == b.dtype
            and a.shape == b.shape
            and a.stride() == b.stride()
            and torch.equal(a.detach().reshape(-1).view(torch.uint8), b.detach().reshape(-1).view(torch.uint8))
        )
    if isinstance(a, dict) and isinstance(b, dict):
        return [*map(repr, a)] == [*map(repr, b)] and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and repr(a) == repr(b)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_training_goes_on_to_the_bit(kind: str, tmp_path: Path) -> None:
    """Three steps, saved, loaded into new objects, three more: as six steps in one go."""
    first = 0 if kind == "SGD before its first step" else 3
    whole, stopped = _objects(kind), _objects(kind)
    _train(whole, range(6))
    _train(stopped, range(first))
    tensors, structure = pack(stopped)
    Checkpoints(tmp_path).save(first, tensors, {"structure": structure})

    torch.manual_seed(99)
    resumed = _objects(kind)
    for parameter in resumed["model"].parameters():
        nn.init.zeros_(parameter)
    found = Checkpoints(tmp_path).newest()
    assert found is not None
    unpack(resumed, found.tensors, found.state["structure"])
    for name in ("model", "optimizer", "schedule", "scaler", "ema"):
        assert _same(dict(resumed[name].state_dict()), dict(stopped[name].state_dict())), name
    _train(resumed, range(first, 6))
    for name in ("model", "optimizer", "schedule", "scaler", "ema"):
        assert _same(dict(resumed[name].state_dict()), dict(whole[name].state_dict())), name


def test_a_snapshot_does_not_follow_training() -> None:
    objects = _objects("fused Adam")
    _train(objects, range(1))
    tensors, _ = pack(objects)
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    _train(objects, range(1, 2))
    assert all(tensor.equal(before[name]) for name, tensor in tensors.items())
    assert all(tensor.is_contiguous() and tensor.device.type == "cpu" for tensor in tensors.values())


def test_a_snapshot_takes_the_memory_of_an_earlier_one_where_it_fits() -> None:
    state = {"weight": torch.rand(3, 4), "count": torch.tensor(1), "other": torch.rand(2)}
    earlier, _ = pack({"run": Holder(state)})
    state["weight"] += 1
    state["other"] = torch.rand(5)  # another shape
    now, structure = pack({"run": Holder(state)}, earlier)
    shared = [name for name in now if now[name].data_ptr() == earlier[name].data_ptr()]
    assert shared == ["run/weight", "run/count"]
    target = Holder(dict.fromkeys(state))
    unpack({"run": target}, now, structure)
    assert _same(target.state, state)


@pytest.mark.parametrize("dtype", NAMES, ids=str)
def test_every_dtype_is_read_by_the_safetensors_library(dtype: torch.dtype, tmp_path: Path) -> None:
    bits = torch.randint(0, 2, (48,), dtype=torch.uint8)
    tensors = {
        "b": bits[:16].clone().view(dtype),
        "a": torch.tensor([1.5]),
        "scalar": torch.tensor(2, dtype=torch.int8),
    }
    entry = write_tensors(tmp_path / "file", tensors)
    assert entry.size == (tmp_path / "file").stat().st_size
    found = safetensors.torch.load((tmp_path / "file").read_bytes())
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name].reshape(-1).view(torch.uint8), tensor.reshape(-1).view(torch.uint8))


def test_a_dtype_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"'odd' is torch\.complex128"):
        write_tensors(tmp_path / "file", {"odd": torch.zeros(1, dtype=torch.complex128)})


def test_loading_twice_shares_nothing() -> None:
    source = torch.optim.Adam([nn.Parameter(torch.ones(3))])
    source.param_groups[0]["params"][0].grad = torch.ones(3)
    source.step()
    tensors, structure = pack({"optimizer": source})
    targets = [torch.optim.Adam([nn.Parameter(torch.zeros(3))]) for _ in range(2)]
    for target in targets:
        unpack({"optimizer": target}, tensors, structure)
    moments = [t.state[t.param_groups[0]["params"][0]]["exp_avg"] for t in targets]
    moments[0].zero_()
    assert moments[1].count_nonzero() == 3
    assert tensors["optimizer/state/0/exp_avg"].count_nonzero() == 3


def test_odd_tensors(tmp_path: Path) -> None:
    shared = torch.arange(12.0)
    state = {
        "view": shared[2:5],
        "overlapping view": shared[4:8],
        "transposed": shared.view(3, 4).t(),
        "expanded": torch.ones(1).expand(4),
        "scalar": torch.tensor(1 / 3, dtype=torch.float64),
        "bf16": torch.tensor([1.5, -0.0, math.inf, math.nan], dtype=torch.bfloat16),
        "conjugate": torch.tensor([1 + 2j]).conj(),
        "empty": torch.empty(0, 2, dtype=torch.int16),
        "channels last": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "grad": torch.ones(2, requires_grad=True),
    }
    tensors, structure = pack({"run": Holder(state)})
    loaded = read(Checkpoints(tmp_path).save(1, tensors, {"structure": structure}))
    target = Holder(copy.copy(state))
    unpack({"run": target}, loaded.tensors, loaded.state["structure"])
    expected = {
        name: t.detach().resolve_conj().clone(memory_format=torch.contiguous_format) for name, t in state.items()
    }
    expected["channels last"] = state["channels last"]
    assert _same(target.state, expected)


def test_keys_that_look_alike_stay_apart() -> None:
    state = {0: torch.tensor(0), "0": torch.tensor(1), "a/b": torch.tensor(2), "a": {"b": torch.tensor(3)}}
    tensors, structure = pack({"run": Holder(state), "run/a": Holder({"b": torch.tensor(4)})})
    assert len(tensors) == 5
    targets = {"run": Holder(state), "run/a": Holder({"b": torch.tensor(0)})}
    unpack(targets, tensors, structure)
    assert _same(targets["run"].state, state)
    assert targets["run/a"].state["b"] == 4


# ---------------------------------------------------------------- what does not fit


def _changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    objects = _objects("fused Adam")
    change(objects)
    return objects


def _replace_layer(objects: dict[str, Any], index: int, layer: nn.Module) -> None:
    objects["model"][index] = layer


MISMATCHES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "wider": (lambda o: o.update(_objects("fused Adam", width=7)), r"\(6, 144\) float32 .*\(7, 144\) float32"),
    "layer more": (lambda o: o["model"].append(nn.Linear(6, 2)), r"model/5.weight is not in the checkpoint"),
    "layer less": (lambda o: o["model"].pop(4), r"model/4.weight is only in the checkpoint"),
    "other norm": (lambda o: _replace_layer(o, 1, nn.InstanceNorm2d(4)), r"model/1.\w+ is only in the checkpoint"),
    "other dtype": (lambda o: o["model"].double(), r"float32 in the checkpoint, .*float64 here"),
    "no average": (lambda o: o.pop("ema"), r"'ema' is only in the checkpoint"),
    "another player": (lambda o: o.update(critic=nn.Linear(2, 2)), r"'critic' is not in the checkpoint"),
    "other optimiser": (
        lambda o: o.update(optimizer=torch.optim.SGD(o["model"].parameters(), 0.1)),
        r"optimizer is Adam in the checkpoint, SGD here",
    ),
    "groups joined": (
        lambda o: o.update(optimizer=torch.optim.Adam(o["model"].parameters(), 0.1)),
        r"optimizer belongs to parameters of other shapes",
    ),
    "optimiser of another net": (
        lambda o: o.update(optimizer=_objects("fused Adam", width=7)["optimizer"]),
        r"optimizer belongs to parameters of other shapes",
    ),
    "state key more": (lambda o: o["run"].state.update(epoch=1), r"run/epoch is not in the checkpoint"),
    "state key less": (lambda o: o["run"].state.pop(3), r"run/3 is only in the checkpoint"),
    "rng of another length": (lambda o: o["run"].state.update(rng=torch.zeros(9, dtype=torch.uint8)), r"run/rng is"),
    "tensor for a number": (lambda o: o["run"].state.update({3: torch.zeros(1)}), r"run/3 is a str"),
    "module for a holder": (lambda o: o.update(run=nn.Linear(1, 1)), r"run/weight is not in the checkpoint"),
    "optimiser for a holder": (lambda o: o.update(run=o["optimizer"]), r"run is no optimiser in the checkpoint"),
}


@pytest.mark.parametrize("case", MISMATCHES)
def test_mismatches_are_listed_and_nothing_is_loaded(case: str) -> None:
    change, message = MISMATCHES[case]
    source = _objects("fused Adam")
    _train(source, range(2))
    tensors, structure = pack(source)
    target = _changed(change)
    before = copy.deepcopy({name: thing.state_dict() for name, thing in target.items()})
    with pytest.raises(CheckpointError, match=message) as caught:
        unpack(target, tensors, structure)
    assert "\n" not in str(caught.value)
    for name, thing in target.items():
        assert _same(dict(thing.state_dict()), dict(before[name])), name


def test_some_objects_can_be_left_out_with_their_structure() -> None:
    source = _objects("fused Adam")
    _train(source, range(1))
    tensors, structure = pack(source)
    model = net()
    with pytest.raises(CheckpointError, match="optimizer"):
        unpack({"model": model}, tensors, structure)
    unpack({"model": model}, tensors, {"model": structure["model"]})
    assert _same(dict(model.state_dict()), dict(source["model"].state_dict()))
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


# ---------------------------------------------------------------- JSON that loses nothing

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("$")
keys = st.text() | st.integers() | st.none() | st.floats(allow_nan=False) | st.tuples(st.integers(), st.text())
values = st.recursive(
    scalars | st.builds(TensorRef, st.text(), st.booleans()),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner),
    max_leaves=20,
)


@settings(max_examples=250, deadline=None)
@given(values)
def test_any_structure_round_trips(value: Any) -> None:
    assert _same(decode(parse_json(dump_json(encode(value)))), value)


def test_too_deep_is_refused_when_written() -> None:
    value: Any = 1
    for _ in range(51):
        value = (value,)
    with pytest.raises(ValueError, match="too deeply"):
        encode(value)
    assert decode(encode(value[0])) == value[0]  # the deepest that may be written can be read


# ---------------------------------------------------------------- numbers that must not be saved


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite(dtype: torch.dtype, value: float) -> None:
    good = torch.full((3, 5), 2.0).to(dtype)
    bad = torch.full((3, 5), 2.0)
    bad[1, 2] = value if dtype != torch.float8_e4m3fn else math.nan  # that one has no infinity
    tensors = {"good": good, "bad": bad.to(dtype), "empty": torch.empty(0), "count": torch.tensor(3)}
    assert non_finite(tensors) == ["bad"]


def test_large_numbers_are_finite() -> None:
    assert non_finite({"a": torch.full((9,), 3e38), "b": torch.full((2,), 1e30 + 1e30j)}) == []
    assert non_finite({"c": torch.tensor([complex(0, math.nan)])}) == ["c"]


def test_a_poisoned_batch_shows_in_the_buffers() -> None:
    """One NaN image leaves BatchNorm's running mean NaN even where the scaler kept the weights."""
    model = net()
    model(torch.full((2, 1, 8, 8), math.nan))
    assert "model/1.running_mean" in non_finite(pack({"model": model})[0])
