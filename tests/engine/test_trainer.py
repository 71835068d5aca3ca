"""The loop: exact resume at every step, accumulation, phases, finite checks, clipping, stopping."""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from dataclasses import replace

import pytest
import torch

from genlab.config.trainer_config import CheckpointConfig
from genlab.core import rng
from genlab.core.model import Phase
from genlab.core.values import Logger
from genlab.distributed.runtime import Runtime
from genlab.engine.phase_state import PhaseState
from genlab.engine.trainer import Trainer
from genlab.errors import CheckpointError, ConfigError, DivergedError, Stopped
from tests.support.trainers import FAMILIES, MakeTrainer, fit, same, snapshot


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_resume_at_every_step_is_exact(make_trainer: MakeTrainer, family: str, precision: str) -> None:
    """fp16, which the command refuses on a CPU, goes the way of its loss scaler here too."""
    runtime = Runtime(torch.device("cpu"), precision)
    make_trainer = functools.partial(make_trainer, runtime=runtime)
    extra = ["trainer.ema_decay=0.9", "trainer.steps=6", "schedule=cosine"]
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


def test_accumulation_makes_the_same_step(make_trainer: MakeTrainer) -> None:
    network = "model.network.activation=tanh"
    whole = make_trainer("autoencoder", network, "optimizer=sgd")
    parts = make_trainer("autoencoder", network, "optimizer=sgd", "trainer.grad_accum_steps=4")
    a, b = whole.train_step(), parts.train_step()
    assert float(a["loss"]) == pytest.approx(float(b["loss"]), rel=1e-5)
    assert float(a["gradient_norm"]) == pytest.approx(float(b["gradient_norm"]), rel=1e-4)
    for p, q in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-6)


def test_a_player_that_rests_is_logged_as_it_last_moved(make_trainer: MakeTrainer) -> None:
    """The generator moves in steps 3, 6, 9 and 12: since the last record, or it is not in the next."""
    words = ("model.critic_steps=3", "trainer.log_every={}")
    each, few = (fit(make_trainer("dcgan", words[0], words[1].format(n)))[0].records for n in (1, 5))
    moves = {step: values["generator/loss"] for step, _, values in each if "generator/loss" in values}
    assert list(moves) == [3, 6, 9, 12]
    logged = {step: values.get("generator/loss") for step, _, values in few}
    assert logged == {5: moves[3], 10: moves[9], 12: moves[12]}
    assert all("discriminator/loss" in values for _, _, values in few)


@pytest.mark.parametrize("family", ["dcgan", "rbm"])
def test_metrics_are_computed_where_they_are_logged_and_change_nothing(make_trainer: MakeTrainer, family: str) -> None:
    """They draw noise before the last phase of a step, which gets the same noise without them."""
    calls: list[int] = []
    ended, records = [], []
    for every in (1, 5):
        trainer = make_trainer(family, f"trainer.log_every={every}")

        def metrics(*shared: torch.Tensor) -> dict[str, torch.Tensor]:
            assert not torch.is_grad_enabled()
            calls.append(trainer.step)  # noqa: B023  the trainer of this round
            return {"noise": rng.uniform(1, like=shared[0]).mean()}

        for phase in trainer.phases[:-1] if family == "dcgan" else []:
            phase.spec = replace(phase.spec, metrics=metrics)
        log, saved = fit(trainer)
        ended.append(saved[12][0])
        records.append({step: values for step, _, values in log.records})
    assert same(ended[0], ended[1])
    assert records[1] == {step: records[0][step] for step in (5, 10, 12)}
    if family == "dcgan":
        assert calls == [*range(12), 4, 9, 11]
    else:
        assert {"loss", "free_energy", "pseudo_nll"} <= records[1][5].keys()


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ({"loss": torch.zeros(())}, "'loss', which is the objective's"),
        ({"x": 1.0}, "'x', which is not a scalar"),
        (0, "a int"),
    ],
)
def test_metrics_that_cannot_be_logged_are_refused(make_trainer: MakeTrainer, found: object, problem: str) -> None:
    trainer = make_trainer("vae")
    trainer.phases[0].spec = replace(trainer.phases[0].spec, metrics=lambda *shared: found)  # type: ignore[arg-type,return-value]
    with pytest.raises(ConfigError, match=f"metrics of phase 'model' are {problem}"):
        trainer.train_step()


def test_accumulation_moves_both_players_once(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("dcgan", "trainer.grad_accum_steps=4")
    before = [[p.detach().clone() for p in phase.parameters] for phase in trainer.phases]
    values = trainer.train_step()
    assert {"discriminator/loss", "generator/loss"} <= values.keys()
    for phase, old in zip(trainer.phases, before, strict=True):
        assert phase.optimizer is not None
        assert all(float(state["step"]) == 1 for state in phase.optimizer.state.values())
        assert any(not torch.equal(p, q) for p, q in zip(phase.parameters, old, strict=True))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
def test_a_step_skipped_on_the_device_leaves_everything_as_it_was(
    make_trainer: MakeTrainer, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of a GPU, where the host looks at the finite flag later: here with the CPU's fused optimizers."""
    monkeypatch.setattr(Runtime, "asynchronous", True)
    trainer = make_trainer("vae", f"optimizer={optimizer}")
    only, before = trainer.phases[0], [p.detach().clone() for p in trainer.model.parameters()]
    sound = only.spec
    only.spec = Phase("model", lambda image: {"loss": sound.objective(image)["loss"] * math.nan}, sound.module)
    trainer.train_step()
    assert all(torch.equal(p, q) for p, q in zip(trainer.model.parameters(), before, strict=True))
    only.spec = sound
    trainer.train_step()
    assert all(p.isfinite().all() for p in trainer.model.parameters())
    with pytest.raises(DivergedError):
        trainer._log({})


def test_an_update_without_gradients(make_trainer: MakeTrainer) -> None:
    """A phase without a module (PCA, k-means) runs with gradients off and in full precision."""
    trainer = make_trainer("autoencoder", runtime=Runtime(torch.device("cpu"), "bf16"))
    seen = []

    def update(image: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append((torch.is_grad_enabled(), (image.flatten(1).T @ image.flatten(1)).dtype))
        return {"loss": image.mean()}

    trainer.phases[:] = [PhaseState(Phase("statistics", update), [], None, None)]
    assert "loss" in trainer.train_step()
    assert seen == [(False, torch.float32)]


def test_a_changed_option_of_the_optimizer_is_taken(make_trainer: MakeTrainer) -> None:
    first = make_trainer("vae")
    _, saved = fit(first)
    second = make_trainer("vae", "optimizer.betas=[0.5,0.9]", "trainer.steps=20")
    second.restore(*saved[12])
    assert second.phases[0].optimizer.param_groups[0]["betas"] == (0.5, 0.9)


def test_a_checkpoint_beyond_the_end_changes_nothing(make_trainer: MakeTrainer) -> None:
    _, saved = fit(make_trainer("vae"))
    short = make_trainer("vae", "trainer.steps=5")
    before = [p.detach().clone() for p in short.model.parameters()]
    with pytest.raises(CheckpointError, match=r"trainer\.steps"):
        short.restore(*saved[12])
    assert all(torch.equal(p, q) for p, q in zip(short.model.parameters(), before, strict=True))


def test_a_batch_must_divide(make_trainer: MakeTrainer) -> None:
    with pytest.raises(ConfigError, match="multiple of 3"):
        make_trainer("vae", "trainer.grad_accum_steps=3")


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

    for phase in trainer.phases:
        phase.spec = watch(phase.spec)
    trainer.train_step()
    assert seen == {"discriminator": (False, True), "generator": (True, False)}


def test_every_and_window_decide_who_moves(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("dcgan", "trainer.steps=12")
    critic, phase = trainer.phases
    phase.spec = Phase("generator", phase.spec.objective, phase.spec.module, every=3)
    critic.spec = Phase("discriminator", critic.spec.objective, critic.spec.module, window=(0.0, 0.5))
    moved = []
    for _ in range(12):
        names = {name.split("/")[0] for name in trainer.train_step()}
        moved.append("".join(sorted(name[0] for name in names)))
    assert moved == ["d", "d", "dg", "d", "d", "dg", "", "", "g", "", "", "g"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_non_finite_loss_stops_before_the_update(make_trainer: MakeTrainer, family: str, value: float) -> None:
    trainer = make_trainer(family)
    for _ in range(3):
        trainer.train_step()
    last = trainer.phases[-1]
    objective = last.spec.objective
    last.spec = Phase(last.spec.name, lambda *c: (v := objective(*c)) | {"loss": v["loss"] * value}, last.spec.module)
    before = {k: p.detach().clone() for k, p in last.spec.module.named_parameters()}
    with pytest.raises(DivergedError, match=rf"'{last.spec.name}' is not finite at step 3"):
        trainer.train_step()
    assert all(torch.equal(before[k], p) for k, p in last.spec.module.named_parameters())


def test_a_non_finite_gradient_with_a_finite_loss_stops_too(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("autoencoder")
    weight = next(trainer.model.parameters())
    only = trainer.phases[0]
    # sqrt at 0: the value is 0, the gradient infinite
    only.spec = Phase("model", lambda image: {"loss": (weight * 0).abs().sum().sqrt()}, only.spec.module)
    with pytest.raises(DivergedError):
        trainer.train_step()


def test_clipping_bounds_the_step_and_logs_the_norm_before_it(make_trainer: MakeTrainer) -> None:
    options = ["optimizer=sgd", "optimizer.lr=1.0", "optimizer.momentum=0.0", "trainer.grad_clip=0.01"]
    trainer = make_trainer("vae", *options)
    before = torch.cat([p.detach().flatten().clone() for p in trainer.model.parameters()])
    norm = float(trainer.train_step()["gradient_norm"])
    after = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
    assert norm > 1
    assert float((after - before).norm()) == pytest.approx(0.01, rel=1e-3)


def test_training_lowers_the_loss_and_keeps_the_best(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(
        "vae", "evaluator=objective", "evaluator.objective.every=5%", "trainer.steps=300", "trainer.log_every=300"
    )
    recorder, _ = fit(trainer)
    valid = [(step, v["loss"]) for step, split, v in recorder.records if split == "valid"]
    assert valid[-1][1] < 0.8 * valid[0][1]
    step, value = min(valid, key=lambda pair: pair[1])
    assert trainer.ranking.best == {"metric": "valid/loss", "value": value, "step": step}
    assert trainer.validation.metrics["valid/elbo"] == pytest.approx(
        -(trainer.validation.metrics["valid/reconstruction"] + trainer.validation.metrics["valid/kl"]), rel=1e-5
    )


def test_evaluation_leaves_training_as_it_was(make_trainer: MakeTrainer) -> None:
    quiet, watched = make_trainer("dcgan"), make_trainer("dcgan", "evaluator=default", "evaluator.samples.every=1")
    (_, a), (_, b) = fit(quiet), fit(watched)
    assert same(a[12][0], b[12][0])


@pytest.mark.parametrize("how", ["stop", "watch", "error"])
def test_an_early_end_leaves_no_thread_that_reads(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("genlab.data.dataset.fits", lambda nbytes, device: False)
    trainer = make_trainer("vae")

    def readers() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("genlab-data")]

    def watch(step: int) -> bool:
        assert readers()
        assert how != "error" or step < 3, "this very error"
        return how == "watch" and step == 3

    ends = {"stop": pytest.raises(Stopped), "error": pytest.raises(AssertionError, match="this very error")}
    with ends.get(how, contextlib.nullcontext()):
        trainer.fit(Logger(), lambda *_: None, lambda: 15 if how == "stop" and trainer.step == 3 else 0, watch)
    assert trainer.step == 3
    assert readers() == []


def test_a_model_that_asks_is_told_the_share_done(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("vae", "trainer.steps=4", "trainer.ema_decay=0.9")
    assert trainer.average is not None
    plain = snapshot(trainer)[0].keys()
    told = make_trainer("vae", "trainer.steps=4")
    told.model.register_buffer("progress", torch.ones(()), persistent=False)
    asking = Trainer(
        told.model, told.data, told.runtime, told.config, CheckpointConfig(every=1, keep=2), seed=0,
        optimizer=lambda phase, parameters: torch.optim.SGD(parameters, 0.0), schedule=lambda done: 1.0, evaluators={},
    )  # fmt: skip
    seen = []
    for _ in range(4):
        asking.train_step()
        seen.append(float(asking.model.progress))
    assert seen == [0.125, 0.375, 0.625, 0.875]
    assert {name for name in plain if "progress" in name} == set()


def test_a_single_image_is_refused_where_batch_norm_follows_a_vector(make_trainer: MakeTrainer) -> None:
    with pytest.raises(ConfigError, match=r"batch norm cannot normalize a single vector; .*trainer\.batch_size"):
        make_trainer("infogan", "trainer.batch_size=1")
    with pytest.raises(ConfigError, match=r"trainer\.grad_accum_steps"):
        make_trainer("infogan", "trainer.batch_size=2", "trainer.grad_accum_steps=2")
    make_trainer("dcgan", "trainer.batch_size=1").train_step()
