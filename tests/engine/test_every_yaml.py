"""What the engine promises of every file in configs/model: exact resume, ranks that agree, half precision."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.checkpoint import manager
from genlab.distributed.runtime import Runtime
from genlab.engine.trainer import Trainer
from tests.support.gloo import among
from tests.support.models import OTHERS, PRESETS
from tests.support.trainers import MakeTrainer, same, trained

# Smaller steps where each would multiply rounding errors by hundreds: CycleGAN's gradient goes through two generators,
# one after the other, whose small weights are normalized away; under plain gradient descent it is as large as they are.
CALMED = ["model.lambda_cycle=0.01", "model.lambda_identity=0.01", "optimizer.lr=1e-5"]
CALM = {
    "cyclegan": CALMED,
    "cyclegan_unet": CALMED,
    # its weights multiply the rounding of gradients that are zero, those of biases before batch norm
    "vicreg": ["model.invariance=1", "model.variance=1", "model.covariance=0.04"],
}
# records at steps 6, 12, 18 and 20, evaluations at 8, 16 and 20; the rarest phase moves at step 16
WATCHED = ["trainer.steps=20", "trainer.log_every=6", "trainer.ema_decay=0.9", "schedule=cosine",
           "evaluator=[objective,gan_diagnosis,codebook]", "evaluator.gan_diagnosis.images=64",
           *(f"evaluator.{name}.every=8" for name in ("objective", "gan_diagnosis", "codebook"))]  # fmt: skip
ACCUMULATED = ("vae", "dbn", "vqvae", "wgan_gp")
every_yaml = pytest.mark.parametrize("preset", PRESETS)


def steps(trainer: Trainer, count: int) -> dict[str, torch.Tensor]:
    """Everything that a checkpoint would hold after `count` more steps."""
    trainer.model.train()
    for _ in range(count):
        trainer.train_step()
    return {name: tensor.clone() for name, tensor in manager.pack(trainer.objects())[0].items()}


@pytest.mark.parametrize(
    ("preset", "parts"), [*((name, 1) for name in (*PRESETS, *OTHERS)), *((name, 2) for name in ACCUMULATED)]
)
def test_a_resumed_run_is_the_same_bit_for_bit(
    make_trainer: MakeTrainer, preset: str, parts: int, tmp_path: Path
) -> None:
    """Checkpoint and rows of metrics.jsonl of a run stopped between records, at one, and after the rarest phase."""
    make = functools.partial(make_trainer, preset, *WATCHED, f"trainer.grad_accum_steps={parts}")
    whole, rows = trained(make, tmp_path / "whole")
    again, rows_again = trained(make, tmp_path / "again", stops=(5, 12, 17))
    assert rows_again == rows
    assert same(again.tensors, whole.tensors)
    assert again.state == whole.state


@every_yaml
def test_two_ranks_equal_one(make_trainer: MakeTrainer, preset: str, tmp_path: Path) -> None:
    """Under plain gradient descent: Adam makes a whole step of a bias before batch norm, whose gradient is rounding."""
    words = ["trainer.batch_size=32", "optimizer=sgd", "optimizer.lr=1e-3", *CALM.get(preset, [])]

    def work(runtime: Runtime | None = None) -> dict[str, Any]:
        return steps(make_trainer(preset, *words, runtime=runtime), 8)

    start = steps(make_trainer(preset, *words), 0)
    one, two = work(), among(2, tmp_path / "two", work)
    for name, tensor in one.items():
        assert torch.equal(two[0][name], two[1][name]), name
        moved = (tensor - start[name]).abs().max() if name in start else tensor.abs().max()
        assert (tensor - two[0][name]).abs().max() <= 1e-5 + 1e-4 * moved, name


@every_yaml
def test_half_precision_learns_the_same(make_trainer: MakeTrainer, preset: str) -> None:
    """The first steps' losses under bfloat16 are those in float32 to its 8 bits."""
    full = make_trainer(preset, runtime=Runtime(torch.device("cpu"), "fp32"))
    half = make_trainer(preset, runtime=Runtime(torch.device("cpu"), "bf16"))
    for trainer in (full, half):
        trainer.model.train()
    for _ in range(3):
        a, b = full.train_step(), half.train_step()
        for name in a:
            if name.endswith("loss"):
                assert float(b[name]) == pytest.approx(float(a[name]), rel=0.03, abs=0.03), name
