"""A checkpoint's plain state that was changed deep inside: refused in one line, and nothing is loaded."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from genlab.checkpoint.codec import TensorRef
from genlab.engine.saved_state import checked
from genlab.errors import CheckpointError
from tests.support.trainers import MakeTrainer, fit, same, snapshot

ADAM = "structure optimizer/generator state"
GONE = object()
CHANGES: list[tuple[str, Any]] = [
    ("step", "3"), ("metrics", []), ("due", [1]), ("best", {}), ("diagnoses", [{}]), ("structure", None),
    ("protocols", []),
    ("next_record generator/loss", None), ("memory gan_diagnosis", None), ("memory gan_diagnosis fractions", "1"),
    ("memory gan_diagnosis fractions 1", None), ("structure model", GONE), ("structure model metadata", 7),
    ("structure model metadata generator", []), ("structure model state", 1), ("structure optimizer/generator", {}),
    (ADAM, []), (f"{ADAM} state", GONE), (f"{ADAM} state", [1]), (f"{ADAM} state 0", 5), (f"{ADAM} state 99", {}),
    (f"{ADAM} state 0 step", GONE), (f"{ADAM} state 0 exp_avg", GONE), (f"{ADAM} state 0 exp_avg", (1,)),
    (f"{ADAM} state 0 exp_avg", TensorRef("nothing")), (f"{ADAM} state 0 odd", 1.0),
    (f"{ADAM} state 0 exp_avg_sq", TensorRef(f"{ADAM.partition(' ')[2].replace(' ', '/')}/state/0/step")),
    (f"{ADAM} param_groups", None), (f"{ADAM} param_groups 0", 1), (f"{ADAM} param_groups 0 params 0", None),
    (f"{ADAM} param_groups 0 lr", "high"), (f"{ADAM} param_groups 0 lr", GONE),
]  # fmt: skip


def test_a_number_that_an_evaluator_remembered_is_still_read() -> None:
    saved = {"step": 1, "metrics": {}, "best": None, "structure": {}}
    older = checked({**saved, "memory": {"gan_diagnosis": {"fractions": [0.5, 0.5], "moved": 0.0}}})
    assert older["memory"] == {"gan_diagnosis": {"fractions": [0.5, 0.5], "moved": [0.0]}}
    assert checked(saved)["memory"] == {}


def changed(state: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of `state` with `value` at `path`, which is removed if it is GONE."""
    found: Any = copy.deepcopy(state)
    result, keys = found, [int(key) if key.isdigit() else key for key in path.split()]
    for key in keys[:-1]:
        found = found[key]
    if value is GONE:
        del found[keys[-1]]
    else:
        found[keys[-1]] = value
    return dict(result)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
def test_what_cannot_be_used_is_refused(make_trainer: MakeTrainer, optimizer: str) -> None:
    words = ["model.critic_steps=2", "trainer.log_every=4", f"optimizer={optimizer}", "evaluator=gan_diagnosis",
             "evaluator.gan_diagnosis.images=64", "evaluator.gan_diagnosis.every=3"]  # fmt: skip
    stopped = make_trainer("dcgan", *words)
    _, saved = fit(stopped, stop_at=3)
    tensors, state = saved[3]
    trainer = make_trainer("dcgan", *words)
    before = snapshot(trainer)[0]
    for path, value in CHANGES:
        try:
            bad = changed(state, path, value)
        except KeyError:  # another optimizer's entry
            continue
        with pytest.raises(CheckpointError) as caught:
            trainer.restore(tensors, bad)
        assert "\n" not in str(caught.value)
        assert caught.value.code == 4
    assert same(snapshot(trainer)[0], before)
    trainer.restore(tensors, state)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in snapshot(trainer)[0].items())
    fit(trainer)
