"""StyleGAN2 with adaptive augmentation: what must survive a stop, and that two ranks equal one, R1's steps included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genlab.checkpoint import manager
from genlab.distributed.runtime import Runtime
from genlab.engine.trainer import Trainer
from tests.support.gloo import among
from tests.support.trainers import MakeTrainer

ADA = "model.augment={name: ada, kimg: 2, target: 0.0, start: 0.3}"


def state(trainer: Trainer, count: int) -> dict[str, Tensor]:
    trainer.model.train()
    for _ in range(count):
        trainer.train_step()
    return {name: tensor.clone() for name, tensor in manager.pack(trainer.objects())[0].items()}


def test_a_resumed_run_goes_on_bit_for_bit_with_augmentation_and_penalties(make_trainer: MakeTrainer) -> None:
    words = [ADA, "trainer.ema_decay=0.9", "trainer.steps=20"]
    whole = state(make_trainer("stylegan2", *words), 18)
    first, second = make_trainer("stylegan2", *words), make_trainer("stylegan2", *words)
    state(first, 15)  # R1 comes at the 16th step
    tensors, structure = manager.pack(first.objects())
    second.restore({name: t.clone() for name, t in tensors.items()}, {**first.state(), "structure": structure})
    ended = state(second, 3)
    assert [name for name in whole if not torch.equal(whole[name], ended[name])] == []
    for name in ("augment.p", "path_length", "generator.mean_style"):
        assert any(key.endswith(name) for key in whole)
    (p,) = {float(tensor) for name, tensor in whole.items() if name.endswith("augment.p")}
    assert 0 < abs(p - 0.3) < 0.3


def test_two_ranks_equal_one_with_augmentation_and_penalties(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    words = [ADA, "trainer.batch_size=16", "optimizer=sgd", "optimizer.lr=1e-3", "trainer.steps=20"]

    def work(runtime: Runtime | None = None) -> dict[str, Any]:
        return state(make_trainer("stylegan2", *words, runtime=runtime), 17)

    one, two = work(), among(2, tmp_path / "two", work)
    for name, tensor in one.items():
        assert torch.equal(two[0][name], two[1][name]), name
        torch.testing.assert_close(two[0][name], tensor, rtol=1e-3, atol=1e-4, msg=name)
