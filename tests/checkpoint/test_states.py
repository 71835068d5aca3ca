"""Nested state dictionaries survive exactly, and numbers that are none are not saved."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from genlab.checkpoint.codec import TensorRef, decode, encode
from genlab.checkpoint.manager import Checkpoints, non_finite, pack, read, unpack
from genlab.checkpoint.safetensors_file import NAMES, write_tensors
from genlab.utils.files import dump_json, parse_json
from tests.support.checkpoint_objects import OPTIMIZERS, Holder, identical, net, train, training_objects


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_training_goes_on_to_the_bit(kind: str, tmp_path: Path) -> None:
    """Three steps, saved, loaded into new objects, three more: as six steps in one go."""
    first = 0 if kind == "SGD before its first step" else 3
    whole, stopped = training_objects(kind), training_objects(kind)
    train(whole, range(6))
    train(stopped, range(first))
    tensors, structure = pack(stopped)
    Checkpoints(tmp_path).save(first, tensors, {"structure": structure})

    torch.manual_seed(99)
    resumed = training_objects(kind)
    for parameter in resumed["model"].parameters():
        nn.init.zeros_(parameter)
    found = Checkpoints(tmp_path).newest()
    assert found is not None
    unpack(resumed, found.tensors, found.state["structure"])
    for name in ("model", "optimizer", "schedule", "scaler", "ema"):
        assert identical(dict(resumed[name].state_dict()), dict(stopped[name].state_dict())), name
    train(resumed, range(first, 6))
    for name in ("model", "optimizer", "schedule", "scaler", "ema"):
        assert identical(dict(resumed[name].state_dict()), dict(whole[name].state_dict())), name


def test_a_checkpoint_is_replaced_only_by_the_one_after_its_evaluations(tmp_path: Path) -> None:
    def saved(due: list[str], mark: int) -> Checkpoints:
        keeper = Checkpoints(tmp_path / "ckpt")
        keeper.newest()
        keeper.save(1, {}, {"due": due, "mark": mark})
        return keeper

    def mark(keeper: Checkpoints) -> Any:
        found = keeper.newest()
        return found and found.state["mark"]

    assert mark(saved(["objective"], 0)) == 0
    assert mark(saved([], 1)) == 1
    assert mark(saved([], 2)) == 1
    (tmp_path / "ckpt" / "step-00000001").rename(tmp_path / "ckpt" / ".replaced-step-00000001")  # killed in between
    keeper = Checkpoints(tmp_path / "ckpt")
    assert keeper.sweep() == 0
    assert mark(keeper) == 1
    assert [path.name for path in (tmp_path / "ckpt").iterdir()] == ["step-00000001"]


def test_a_snapshot_does_not_follow_training() -> None:
    objects = training_objects("fused Adam")
    train(objects, range(1))
    tensors, _ = pack(objects)
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    train(objects, range(1, 2))
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
    assert identical(target.state, state)


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
    assert identical(target.state, expected)


def test_keys_that_look_alike_stay_apart() -> None:
    state = {0: torch.tensor(0), "0": torch.tensor(1), "a/b": torch.tensor(2), "a": {"b": torch.tensor(3)}}
    tensors, structure = pack({"run": Holder(state), "run/a": Holder({"b": torch.tensor(4)})})
    assert len(tensors) == 5
    targets = {"run": Holder(state), "run/a": Holder({"b": torch.tensor(0)})}
    unpack(targets, tensors, structure)
    assert identical(targets["run"].state, state)
    assert targets["run/a"].state["b"] == 4


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
    assert identical(decode(parse_json(dump_json(encode(value)))), value)


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
