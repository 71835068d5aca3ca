"""The promises of the engine hold with every regularizer too: exact resume, equal ranks, compiled steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.checkpoint import manager
from genlab.distributed.runtime import Runtime
from genlab.engine.compiling import Compilation
from genlab.engine.trainer import Trainer
from genlab.errors import ConfigError
from tests.engine.test_every_yaml import steps
from tests.support.gloo import among
from tests.support.trainers import MakeTrainer

FREE = "model.discriminator.norm=none"
CASES = {
    "penalties": ["model.regularizers={r1: {every: 2}, r2: {}, roth: {}, gradient_penalty: {}}", FREE],
    "batch_norm": ["model.regularizers={r1: {}, roth: {}}"],
    "seen": ["model.regularizers={instance_noise: {}, pack: {size: 2}, smoothing: {}}"],
    "clip": ["model.regularizers={clip: {bound: 0.02}}", FREE],
    "consensus": ["model.regularizers={consensus: {}}", FREE],
    "unroll": ["model.regularizers={unroll: {steps: 2}}", FREE],
    "deviation": ["model.discriminator.minibatch=deviation", "model.discriminator.norm=spectral"],
    "discrimination": ["model.discriminator.minibatch=discrimination", FREE],
}
SECOND_ORDER = {
    "wgan_gp": ["model.critic_steps=1"],
    "dcgan": ["model.regularizers={r1: {}}"],
    "lsgan": ["model.regularizers={consensus: {}}"],
    "ragan": ["model.regularizers={unroll: {steps: 2}}"],
}
every_case = pytest.mark.parametrize("case", CASES)


@every_case
def test_a_resumed_run_is_the_same_bit_for_bit(make_trainer: MakeTrainer, case: str) -> None:
    words = CASES[case]
    whole = steps(make_trainer("dcgan", *words), 5)
    first, second = make_trainer("dcgan", *words), make_trainer("dcgan", *words)
    steps(first, 3)
    tensors, structure = manager.pack(first.objects())
    second.restore({name: each.clone() for name, each in tensors.items()}, {**first.state(), "structure": structure})
    ended = steps(second, 2)
    assert [name for name in whole if not torch.equal(whole[name], ended[name])] == []


@every_case
def test_two_ranks_equal_one(make_trainer: MakeTrainer, case: str, tmp_path: Path) -> None:
    words = ["trainer.batch_size=32", "optimizer=sgd", "optimizer.lr=1e-2", *CASES[case]]

    def work(runtime: Runtime | None = None) -> dict[str, Tensor]:
        return steps(make_trainer("dcgan", *words, runtime=runtime), 4)

    start = steps(make_trainer("dcgan", *words), 0)
    one, two = work(), among(2, tmp_path / "two", work)
    for name, tensor in one.items():
        assert torch.equal(two[0][name], two[1][name]), name
        moved = (tensor - start[name]).abs().max() if name in start else tensor.abs().max()
        assert (tensor - two[0][name]).abs().max() <= 1e-5 + 1e-4 * moved, name


def test_clipping_asks_other_ranks_for_no_images(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer("dcgan", *CASES["clip"])
    monkeypatch.setattr(Runtime, "gather", lambda *_: pytest.fail("images of all ranks were gathered"))
    steps(trainer, 1)
    assert max(float(p.abs().max()) for p in trainer.model.discriminator.parameters()) <= 0.02


@pytest.mark.parametrize(("parts", "fits", "too_large"), [(1, 6, 4), (2, 3, 6)])
def test_a_pack_that_a_batch_cannot_fill_is_refused_before_the_first_step(
    make_trainer: MakeTrainer, parts: int, fits: int, too_large: int
) -> None:
    words = ["trainer.batch_size=18", f"trainer.grad_accum_steps={parts}"]
    steps(make_trainer("dcgan", f"model.regularizers.pack.size={fits}", *words), 1)
    with pytest.raises(ConfigError, match=f"by {too_large}; keys trainer.batch_size and model.regularizers.pack.size;"):
        make_trainer("dcgan", f"model.regularizers.pack.size={too_large}", *words)


@pytest.mark.parametrize("preset", SECOND_ORDER)
def test_a_compiled_step_differentiates_twice(
    make_trainer: MakeTrainer, preset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    eager, other = (make_trainer(preset, "model.latent_dim=4", *SECOND_ORDER[preset]) for _ in range(2))
    Compilation(other.stepper, backend="aot_eager")
    ends = [steps(trainer, 3) for trainer in (eager, other)]
    assert max(float((a - b).abs().max()) for a, b in zip(ends[0].values(), ends[1].values(), strict=True)) < 1e-5
    assert "compile" not in capsys.readouterr().err  # nothing was given up


class Breaks(torch.autograd.Function):
    """The same number, whose gradient raises `said`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, error: RuntimeError) -> Tensor:
        ctx.error = error
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        raise ctx.error


def broken(trainer: Trainer, phase: int, error: RuntimeError) -> None:
    """As if compiled: this phase's gradient fails with `error`."""
    Compilation(trainer.stepper, backend="eager")
    spec = trainer.stepper.phases[phase].spec
    objective = spec.objective

    def compiled(*drawn: Tensor) -> dict[str, Tensor]:
        values = objective(*drawn)
        return {**values, "loss": Breaks.apply(values["loss"], error)}

    object.__setattr__(spec, "objective", compiled)


@pytest.mark.parametrize("phase", [0, 1])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_graph_whose_gradient_cannot_be_compiled_is_given_up_with_one_line_and_no_trace(
    make_trainer: MakeTrainer, capsys: pytest.CaptureFixture[str], phase: int, parts: int
) -> None:
    """Not in the moments of Adam either, nor in the statistics of batch norm or the strength of an augmentation."""
    words = ["model.augment={name: ada, start: 0.5}", f"trainer.grad_accum_steps={parts}"]
    eager, other = make_trainer("dcgan", *words), make_trainer("dcgan", *words)
    broken(other, phase, RuntimeError("aot_autograd does not currently support double backward"))
    ends = []
    for trainer in (eager, other):
        steps(trainer, 2)
        ends.append(manager.pack(trainer.objects())[0])
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "support double backward" in said
    assert [name for name, tensor in ends[0].items() if not torch.equal(tensor, ends[1][name])] == []


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("out of memory"), RuntimeError("[gloo] connection reset")])
def test_other_failures_of_a_compiled_step_are_what_they_are(
    make_trainer: MakeTrainer, capsys: pytest.CaptureFixture[str], error: RuntimeError
) -> None:
    trainer = make_trainer("dcgan")
    broken(trainer, 1, error)
    with pytest.raises(type(error), match=str(error)[-10:]):
        steps(trainer, 1)
    assert "compile" not in capsys.readouterr().err
