"""Greedy layer-wise training in the loop: the layers in turn, exact resume, ranks that agree."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.checkpoint import manager
from genlab.distributed.runtime import Runtime
from genlab.engine.trainer import Trainer
from genlab.models.autoencoders.deep import DeepAutoencoder
from tests.support.gloo import among
from tests.support.trainers import MakeTrainer, fit, same, trained

WORDS = ["model.network.hidden=[16,8]", "model.latent_dim=3", "model.network.activation=sigmoid",
         "model.pretrain_fraction=0.75", "trainer.batch_size=32"]  # fmt: skip
either = pytest.mark.parametrize("pretrain", ["autoencoder", "rbm"])


def steps(trainer: Trainer, count: int) -> dict[str, torch.Tensor]:
    for _ in range(count):
        trainer.train_step()
    return {name: tensor.clone() for name, tensor in manager.pack(trainer.objects())[0].items()}


@either
def test_each_window_moves_its_layer_alone(make_trainer: MakeTrainer, pretrain: str) -> None:
    trainer = make_trainer("deep_ae", *WORDS, f"model.pretrain={pretrain}")  # 12 steps: three a layer, three for all
    model = trainer.model
    assert isinstance(model, DeepAutoencoder)
    for window in range(3):
        before = {name: parameter.clone() for name, parameter in model.named_parameters()}
        steps(trainer, 3)
        moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
        assert moved == {
            f"{half}.{i}.{kind}" for half, i in (("encoder", 1 + 2 * window), ("decoder", 4 - 2 * window))
            for kind in ("weight", "bias")
        }  # fmt: skip
        encoder, decoder = model.encoder[1 + 2 * window], model.decoder[4 - 2 * window]
        assert torch.equal(decoder.weight, encoder.weight.t()) == (pretrain == "rbm")
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    assert "whole/loss" in trainer.train_step()
    assert all(not torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


@either
def test_a_resumed_run_is_the_same_bit_for_bit(make_trainer: MakeTrainer, pretrain: str, tmp_path: Path) -> None:
    words = [*WORDS, f"model.pretrain={pretrain}", "trainer.ema_decay=0.9", "schedule=cosine", "trainer.log_every=2"]
    make = functools.partial(make_trainer, "deep_ae", *words)
    whole, rows = trained(make, tmp_path / "whole")
    again, rows_again = trained(make, tmp_path / "again", stops=(2, 5, 10))
    assert rows_again == rows
    assert same(again.tensors, whole.tensors)
    assert again.state == whole.state


@either
def test_the_logged_learning_rate_is_that_of_the_phase_in_training(make_trainer: MakeTrainer, pretrain: str) -> None:
    words = ["schedule=multistep", "schedule.milestones=[0.2,0.5]", "optimizer.lr=0.008", "schedule.factor=0.5"]
    recorder, _ = fit(make_trainer("deep_ae", *WORDS, f"model.pretrain={pretrain}", *words))
    assert [values["learning_rate"] for _, _, values in recorder.records] == [0.008] * 2 + [0.004] * 4 + [0.002] * 6


@either
def test_two_ranks_equal_one(make_trainer: MakeTrainer, pretrain: str, tmp_path: Path) -> None:
    def work(runtime: Runtime | None = None) -> dict[str, Any]:
        words = [*WORDS, f"model.pretrain={pretrain}", "optimizer=sgd", "optimizer.lr=1e-3"]
        return steps(make_trainer("deep_ae", *words, runtime=runtime), 12)

    one, two = work(), among(2, tmp_path / "two", work)
    for name, tensor in one.items():
        assert torch.equal(two[0][name], two[1][name]), name
        torch.testing.assert_close(tensor, two[0][name], rtol=1e-4, atol=1e-5)
