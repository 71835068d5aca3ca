"""When the loop looks at a model: whose weights, diagnoses that wait, evaluations that fail."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genlab.core.evaluator import Evaluator
from genlab.core.model import Model
from genlab.core.values import Diagnosis, Logger, Value
from genlab.engine.evaluate import evaluate
from genlab.engine.trainer import Trainer
from genlab.errors import ConfigError
from tests.support.trainers import MakeTrainer, fit, same, snapshot, train_in, trained


class Suspicious(Evaluator):
    """An evaluator that finds something wrong each time."""

    split, every = None, 1

    def run(self, model: Model, split: Any) -> Iterator[tuple[str, Value]]:
        yield "collapse", Diagnosis("the posterior has collapsed: model.beta=0.5")


def test_a_diagnosis_waits_while_training_may_still_mend_it(make_trainer: MakeTrainer) -> None:
    class Patient(Suspicious):
        def run(self, model: Model, split: Any) -> Iterator[tuple[str, Value]]:
            yield "collapse", Diagnosis("the posterior has collapsed: model.beta=0.5", after=0.5)

    trainer = make_trainer("vae", "trainer.steps=4")
    trainer.validation.evaluators, trainer.validation.cadence = {"patient": Patient()}, {"patient": 1}
    fit(trainer)
    assert [found["step"] for found in trainer.validation.diagnoses] == [3]


def test_the_protocol_of_an_evaluator_that_found_something_is_kept_and_survives(make_trainer: MakeTrainer) -> None:
    class Resolved(Suspicious):
        def run(self, model: Model, split: Any) -> Iterator[tuple[str, Value]]:
            self.found = {"extractor": "chosen"}
            yield from super().run(model, split)

    class Silent(Suspicious):
        def run(self, model: Model, split: Any) -> Iterator[tuple[str, Value]]:
            return iter(())

    trainer = make_trainer("vae", "trainer.steps=1")
    trainer.validation.evaluators, trainer.validation.cadence = {"a": Resolved(), "b": Silent()}, {"a": 1, "b": 1}
    fit(trainer)
    resumed = make_trainer("vae", "trainer.steps=2")
    resumed.restore(*snapshot(trainer))
    assert resumed.validation.protocols == trainer.validation.protocols == {"a": {"extractor": "chosen", "metrics": []}}


def test_a_diagnosis_waits_for_its_steps_however_short_the_run(make_trainer: MakeTrainer) -> None:
    class Slow(Suspicious):
        def run(self, model: Model, split: Any) -> Iterator[tuple[str, Value]]:
            yield "young", Diagnosis("the generator has collapsed: model.beta=0.5", after=0.25, steps=4)
            yield "never", Diagnosis("nothing is learned: model.beta=0.5", steps=5)

    trainer = make_trainer("vae", "trainer.steps=4")
    trainer.validation.evaluators, trainer.validation.cadence = {"slow": Slow()}, {"slow": 1}
    fit(trainer)
    assert [(found["name"], found["step"]) for found in trainer.validation.diagnoses] == [("young", 4)]


def test_a_diagnosis_is_said_once_logged_each_time_and_survives(
    make_trainer: MakeTrainer, capsys: pytest.CaptureFixture[str]
) -> None:
    texts: list[tuple[int, str, str]] = []

    class Reader(Logger):
        def text(self, step: int, name: str, text: str) -> None:
            texts.append((step, name, text))

    def watched() -> Trainer:
        trainer = make_trainer("vae", "trainer.steps=4")
        trainer.validation.evaluators, trainer.validation.cadence = {"suspicious": Suspicious()}, {"suspicious": 1}
        return trainer

    first, states = watched(), {}
    first.fit(Reader(), lambda step, objects, state: None, lambda: 0, lambda step: step == 2)
    states.update(zip(("tensors", "state"), snapshot(first), strict=True))
    second = watched()
    second.restore(states["tensors"], states["state"])
    second.fit(Reader(), lambda step, objects, state: None, lambda: 0)
    assert [(step, name) for step, name, _ in texts] == [(step, "diagnosis/collapse") for step in (1, 2, 3, 4)]
    assert [found["step"] for found in second.validation.diagnoses] == [1]
    assert capsys.readouterr().err.count("model.beta=0.5") == 1


@pytest.mark.parametrize("live", [True, False])
def test_a_live_evaluator_sees_the_weights_that_learn_and_others_their_average(
    make_trainer: MakeTrainer, live: bool
) -> None:
    seen: list[Model] = []

    class Looking(Suspicious):
        def run(self, model: Model, split: Any) -> Iterator[tuple[str, Value]]:
            seen.append(model)
            yield "looked", 1.0

    trainer, looking = make_trainer("vae", "trainer.steps=2", "trainer.ema_decay=0.9"), Looking()
    looking.live = live  # type: ignore[attr-defined]
    trainer.validation.evaluators, trainer.validation.cadence = {"looking": looking}, {"looking": 1}
    trainer.fit(Logger(), lambda step, objects, state: None, lambda: 0)
    assert trainer.average is not None
    assert all(model is (trainer.model if live else trainer.average.model) for model in seen)
    assert len(seen) == 2


class Counting(Suspicious):
    """An evaluator that compares with what it has seen before."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = {}

    def run(self, model: Model, split: Any) -> Iterator[tuple[str, Value]]:
        self.memory = {"seen": [*self.memory.get("seen", []), 1.0]}
        yield "seen", sum(self.memory["seen"])


def test_what_an_evaluator_remembers_is_in_the_checkpoint(make_trainer: MakeTrainer) -> None:
    def counted() -> Trainer:
        trainer = make_trainer("vae", "trainer.steps=4")
        trainer.validation.evaluators, trainer.validation.cadence = {"counting": Counting()}, {"counting": 1}
        return trainer

    recorder, saved = fit(counted(), stop_at=2)
    second = counted()
    second.restore(*saved[2])
    rest, _ = fit(second)
    seen = [values["seen"] for _, _, values in recorder.records + rest.records if "seen" in values]
    assert seen == [1, 2, 3, 4]


class Failing(Evaluator):
    """An evaluator that fails until its cause is removed."""

    split, every = None, 1
    broken = True

    def run(self, model: Model, split: Any) -> Iterator[tuple[str, Value]]:
        if self.broken:
            raise ConfigError("no labels", "evaluator probe", "use another")
        yield "accuracy", 0.5


def test_an_evaluation_that_fails_costs_no_training_and_is_made_on_going_on(make_trainer: MakeTrainer) -> None:
    def with_probe() -> Trainer:
        trainer = make_trainer("vae", "evaluator=objective", "trainer.steps=4")
        trainer.validation.evaluators["probe"], trainer.validation.cadence = Failing(), {"objective": 4, "probe": 4}
        return trainer

    first, kept = with_probe(), []
    with pytest.raises(ConfigError, match="no labels"):
        first.fit(Logger(), lambda step, objects, state: kept.append((step, snapshot(first))), lambda: 0)
    ((step, (tensors, state)),) = [pair for pair in kept if pair[0] == 4]
    assert (step, state["due"]) == (4, ["probe"])
    assert "valid/loss" in state["metrics"]  # the evaluation before it is done
    second = with_probe()
    second.restore(tensors, state)
    with pytest.raises(ConfigError, match="no labels"):
        fit(second)
    second.validation.evaluators["probe"].broken = False  # type: ignore[attr-defined]
    recorder, _ = fit(second)
    assert recorder.records == [(4, "train", {"accuracy": 0.5})]
    assert second.validation.metrics["train/accuracy"] == 0.5
    assert same(dict(second.model.state_dict()), dict(first.model.state_dict()))


@pytest.mark.parametrize("at_risk", [True, False])
def test_the_end_is_saved_before_its_evaluations_if_they_put_much_at_risk(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, at_risk: bool
) -> None:
    monkeypatch.setattr("genlab.engine.trainer.AT_RISK", -1.0 if at_risk else math.inf)
    trainer = make_trainer("vae", "evaluator=objective", "trainer.steps=4")
    kept: list[tuple[int, list[str], bool]] = []

    def save(step: int, objects: Any, state: dict[str, Any]) -> None:
        kept.append((step, state["due"], "valid/loss" in state["metrics"]))

    trainer._save_every, trainer.validation.cadence = 5, {"objective": 5}
    trainer.fit(Logger(), save, lambda: 0)
    assert kept == [(4, ["objective"], False)] * at_risk + [(4, [], True)]


def test_a_kill_during_the_last_evaluations_repeats_no_record(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end is saved before its evaluations, which a resumed run starts anew."""
    monkeypatch.setattr("genlab.engine.trainer.AT_RISK", -1.0)
    words = ["evaluator=[objective,active_units]", "trainer.steps=4", "evaluator.objective.every=null"]
    make = functools.partial(make_trainer, "vae", *words, "evaluator.active_units.every=null")
    ended, whole = trained(make, tmp_path / "whole")
    assert ended.state["due"] == []  # the state before the evaluations is replaced by that after them
    done: list[Evaluator] = []

    def evaluate_once(evaluator: Evaluator, *arguments: Any, **named: Any) -> Any:
        if done:
            raise KeyboardInterrupt
        done.append(evaluator)
        return evaluate(evaluator, *arguments, **named)

    with monkeypatch.context() as context:
        context.setattr("genlab.engine.validation.evaluate", evaluate_once)
        with pytest.raises(KeyboardInterrupt):
            train_in(tmp_path / "killed", make())
    resumed, rows = trained(make, tmp_path / "killed")
    assert rows == whole
    assert resumed.state == ended.state
    assert len(whole) == 4 + 2


def test_a_game_is_looked_at_as_rarely_as_its_objective(make_trainer: MakeTrainer) -> None:
    """Ten looks, whatever the length, would be most of a short run."""
    trainer = make_trainer("dcgan", "evaluator=default", "trainer.steps=20")
    assert trainer.validation.cadence["gan_diagnosis"] == trainer.validation.cadence["objective"] > 20 // 10
