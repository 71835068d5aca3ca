"""Phases of one module share one optimizer, which is saved once and resumed exactly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genlab.checkpoint import manager
from genlab.core.model import Phase
from genlab.errors import ConfigError
from genlab.models.gans.gan import GAN
from tests.support.trainers import MakeTrainer


@pytest.fixture(autouse=True)
def _lazy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every GAN has a third phase here: its discriminator's weights shrink at every third step."""
    own = GAN.phases

    def phases(self: GAN) -> list[Phase]:
        def shrink(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
            return {"loss": sum((p.square().sum() for p in self.discriminator.parameters()), torch.zeros(()))}

        return [*own(self), Phase("shrink", shrink, self.discriminator, every=3)]

    monkeypatch.setattr(GAN, "phases", phases)


def test_one_optimizer_is_shared_and_named_after_the_first_phase(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("dcgan")
    first, generator, last = trainer.phases
    assert first.optimizer is last.optimizer
    assert first.optimizer is not generator.optimizer
    assert {name for name in trainer.objects() if name.startswith("optimizer")} == {
        "optimizer/discriminator",
        "optimizer/generator",
    }
    assert [sorted(trainer.train_step()) == sorted(trainer.train_step()) for _ in range(1)] == [True]
    assert "shrink/loss" in trainer.train_step()  # the third
    parameter = first.parameters[0]
    assert float(first.optimizer.state[parameter]["step"]) == 4  # three moves and one of the further phase


def test_a_resumed_run_goes_on_the_same(make_trainer: MakeTrainer) -> None:
    whole, first, second = (make_trainer("dcgan") for _ in range(3))
    for trainer, count in ((whole, 7), (first, 4)):
        for _ in range(count):
            trainer.train_step()
    tensors, structure = manager.pack(first.objects())
    second.restore({name: each.clone() for name, each in tensors.items()}, {**first.state(), "structure": structure})
    for _ in range(3):
        second.train_step()
    ended, wanted = (manager.pack(each.objects())[0] for each in (second, whole))
    assert all(torch.equal(ended[name], wanted[name]) for name in wanted)


def test_settings_of_a_further_phase_are_refused(make_trainer: MakeTrainer) -> None:
    with pytest.raises(ConfigError, match="no phase 'shrink'"):
        make_trainer("dcgan", "+optimizer.phases.shrink.lr=1")
