"""The loop: exact resume at every step, accumulation, phases, finite checks, averages, stopping."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from genlab import checkpoint
from genlab.errors import ConfigError, DivergedError, Stopped
from genlab.model import Phase
from genlab.results import Logger
from genlab.trainer import Trainer
from tests.engine.conftest import FAMILIES, MakeTrainer


class Recorder(Logger):
    """Keeps what was logged, wall-clock figures left out."""

    def __init__(self) -> None:
        self.records: list[tuple[int, str, dict[str, float]]] = []

    def scalars(self, step: int, split: str, values: Mapping[str, float]) -> None:
        self.records.append((step, split, {k: v for k, v in values.items() if k != "images_per_second"}))


def snapshot(trainer: Trainer) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    tensors, structure = checkpoint.pack(trainer.objects())
    return {k: v.clone() for k, v in tensors.items()}, {**trainer.state(), "structure": structure}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def fit(trainer: Trainer, stop_at: int | None = None) -> tuple[Recorder, dict[int, Any]]:
    recorder, saved = Recorder(), {}

    def save(step: int, objects: Mapping[str, Any], state: dict[str, Any]) -> None:
        saved[step] = snapshot(trainer)

    expected = pytest.raises(Stopped) if stop_at else contextlib.nullcontext()
    with expected as stopped:
        trainer.fit(recorder, save, lambda: 15 if trainer.step == stop_at else 0)
    if stop_at:
        assert (stopped.value.code, trainer.step) == (143, stop_at)
    return recorder, saved


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_resume_at_every_step_is_exact(make_trainer: MakeTrainer, family: str, precision: str) -> None:
    extra = [f"trainer.precision={precision}", "trainer.ema=0.9", "trainer.steps=6", "schedule=cosine"]
    whole = make_trainer(family, *extra)
    log, saved = fit(whole)
    final = saved[6][0]
    for k in range(1, 6):
        first = make_trainer(family, *extra)
        log_before, stopped = fit(first, stop_at=k)
        second = make_trainer(family, *extra)
        second.restore(*stopped[k])
        log_after, ended = fit(second)
        assert same(ended[6][0], final), f"stopped at {k}"
        assert log_before.records + log_after.records == log.records


@pytest.mark.parametrize("family", ["vae", "autoencoder"])
def test_accumulation_gives_the_same_gradient(make_trainer: MakeTrainer, family: str) -> None:
    network = "model.network.activation=tanh"
    whole = make_trainer(family, network, "optimizer=sgd")
    parts = make_trainer(family, network, "optimizer=sgd", "trainer.accumulate=4")
    a, b = whole.train_step(), parts.train_step()
    if family == "autoencoder":  # a VAE draws its noise part by part, so only its KL is the same
        assert float(a["loss"]) == pytest.approx(float(b["loss"]), rel=1e-5)
        for p, q in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
            assert torch.allclose(p, q, atol=1e-6)
    else:
        assert float(a["kl"]) == pytest.approx(float(b["kl"]), rel=1e-5)


def test_a_batch_must_divide(make_trainer: MakeTrainer) -> None:
    with pytest.raises(ConfigError, match="multiple of 3"):
        make_trainer("vae", "trainer.accumulate=3")


def test_only_the_moving_player_takes_gradients(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("dcgan")
    seen: dict[str, tuple[bool, bool]] = {}
    model = trainer.model

    def watch(phase: Phase) -> Phase:
        def objective(*columns):
            seen[phase.name] = (
                all(p.requires_grad for p in model.generator.parameters()),
                all(p.requires_grad for p in model.discriminator.parameters()),
            )
            return phase.objective(*columns)

        return Phase(phase.name, objective, phase.module, phase.every, phase.window)

    for player in trainer.players:
        player.phase = watch(player.phase)
    trainer.train_step()
    assert seen == {"discriminator": (False, True), "generator": (True, False)}


def test_every_and_window_decide_who_moves(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("dcgan", "trainer.steps=12")
    critic, player = trainer.players
    player.phase = Phase("generator", player.phase.objective, player.phase.module, every=3)
    critic.phase = Phase("discriminator", critic.phase.objective, critic.phase.module, window=(0.0, 0.5))
    moved = []
    for _ in range(12):
        names = {name.split("/")[0] for name in trainer.train_step()}
        moved.append("".join(sorted(name[0] for name in names)))
    assert moved == ["dg", "d", "d", "dg", "d", "d", "g", "", "", "g", "", ""]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_non_finite_loss_stops_before_the_update(make_trainer: MakeTrainer, family: str, value: float) -> None:
    trainer = make_trainer(family)
    for _ in range(3):
        trainer.train_step()
    last = trainer.players[-1]
    objective = last.phase.objective
    last.phase = Phase(
        last.phase.name, lambda *c: (v := objective(*c)) | {"loss": v["loss"] * value}, last.phase.module
    )
    before = {k: p.detach().clone() for k, p in last.phase.module.named_parameters()}
    with pytest.raises(DivergedError, match=rf"'{last.phase.name}' is not finite at step 3"):
        trainer.train_step()
    assert all(torch.equal(before[k], p) for k, p in last.phase.module.named_parameters())


def test_a_non_finite_gradient_with_a_finite_loss_stops_too(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("autoencoder")
    weight = next(trainer.model.parameters())
    only = trainer.players[0]
    # sqrt at 0: the value is 0, the gradient infinite
    only.phase = Phase("model", lambda image: {"loss": (weight * 0).abs().sum().sqrt()}, only.phase.module)
    with pytest.raises(DivergedError):
        trainer.train_step()


def test_clipping_bounds_the_step_and_logs_the_norm_before_it(make_trainer: MakeTrainer) -> None:
    options = ["optimizer=sgd", "optimizer.lr=1.0", "optimizer.momentum=0.0", "trainer.clip=0.01"]
    trainer = make_trainer("vae", *options)
    before = torch.cat([p.detach().flatten().clone() for p in trainer.model.parameters()])
    norm = float(trainer.train_step()["gradient_norm"])
    after = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
    assert norm > 1
    assert float((after - before).norm()) == pytest.approx(0.01, rel=1e-3)


def test_training_lowers_the_loss_and_keeps_the_best(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("vae", "evaluator=objective", "trainer.steps=300", "trainer.log_every=300")
    recorder, _ = fit(trainer)
    valid = [(step, v["loss"]) for step, split, v in recorder.records if split == "valid"]
    assert valid[-1][1] < 0.8 * valid[0][1]
    step, value = min(valid, key=lambda pair: pair[1])
    assert trainer.best == {"metric": "valid/loss", "value": value, "step": step}
    assert trainer.metrics["valid/elbo"] == pytest.approx(
        -(trainer.metrics["valid/reconstruction"] + trainer.metrics["valid/kl"]), rel=1e-5
    )


def test_evaluation_leaves_training_as_it_was(make_trainer: MakeTrainer) -> None:
    quiet, watched = make_trainer("dcgan"), make_trainer("dcgan", "evaluator=default", "evaluator.samples.every=1")
    (_, a), (_, b) = fit(quiet), fit(watched)
    assert same(a[12][0], b[12][0])
