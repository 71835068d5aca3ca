"""Recorded steps are the steps: replayed on a CPU by a stand-in, on a GPU by CUDA graphs; and compiled ones too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from genlab.config.trainer_config import TrainerConfig
from genlab.core.model import Phase
from genlab.distributed.runtime import Runtime
from genlab.engine.compiling import Compilation, compiled
from genlab.engine.cuda_graphs import WARM_UP, Graphs, why_not_capturable
from genlab.engine.phase_state import PhaseState
from genlab.engine.trainer import Trainer
from genlab.errors import DivergedError
from tests.support.trainers import FAMILIES, MakeTrainer

CHANGING = ["schedule=cosine", "trainer.ema_decay=0.9", "trainer.steps=100"]  # what a recorded step must follow


class Rerun:
    """Replays by making the recorded step again: on the recorded tensors, with what the host knew then."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def warm(self, step: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        return step()

    def record(self, step: Callable[[], dict[str, Tensor]]) -> Callable[[], dict[str, Tensor]]:
        self.recorded += 1

        def replay() -> dict[str, Tensor]:
            self.replayed += 1
            return step()

        return replay


def every_second_step(trainer: Trainer) -> None:
    last = trainer.phases[-1]
    last.spec = Phase(last.spec.name, last.spec.objective, last.spec.module, every=2)


def largest_difference(one: Trainer, other: Trainer) -> float:
    pairs = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    averages = zip(one.average.state_dict().values(), other.average.state_dict().values(), strict=True)
    return max(float((a.double() - b.double()).abs().max()) for a, b in [*pairs, *averages])


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])  # torch's RMSprop takes its rate from a GPU only
@pytest.mark.parametrize("family", FAMILIES)
def test_a_replayed_step_follows_rates_shares_seeds_and_batches(
    make_trainer: MakeTrainer, family: str, optimizer: str
) -> None:
    eager, replayed = (
        make_trainer(family, *CHANGING, f"optimizer={optimizer}", "optimizer.lr=0.001") for _ in range(2)
    )
    recorder = Rerun()
    replayed.stepper.record_with(recorder)
    for trainer in (eager, replayed):
        every_second_step(trainer)
        for _ in range(20):
            values = trainer.train_step()
    assert recorder.recorded == 2  # both kinds of step: with and without the last phase
    assert recorder.replayed == 20 - 2 * WARM_UP
    assert all(value.isfinite() for value in values.values())
    assert largest_difference(eager, replayed) < 2e-6
    for phase in replayed.phases:  # a checkpoint holds plain numbers, whichever way the steps were made
        assert all(isinstance(group["lr"], float) for group in phase.optimizer.param_groups)
        assert not any(group.get("capturable") for group in phase.optimizer.param_groups)


def test_only_steps_with_an_update_without_gradients_are_not_recorded(make_trainer: MakeTrainer) -> None:
    """Such an update may look at the device's numbers and keep some on the host."""
    eager, other = (make_trainer("vae", *CHANGING) for _ in range(2))
    recorder, updates = Rerun(), []
    other.stepper.record_with(recorder)

    def update(image: Tensor) -> dict[str, Tensor]:
        updates.append(float(image.mean()))
        return {"mean": image.mean()}

    for trainer in (eager, other):
        trainer.phases.append(PhaseState(Phase("statistics", update, every=4), [], None, None))
        for _ in range(20):
            trainer.train_step()
    assert recorder.recorded == 1
    assert recorder.replayed == 20 - 5 - WARM_UP
    assert updates[:5] == updates[5:]
    assert largest_difference(eager, other) < 2e-6


def test_a_step_that_cannot_be_recorded_is_made_as_ever(
    make_trainer: MakeTrainer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refuses(Rerun):
        """Breaks off where the optimizer begins: gradients are there by then."""

        def record(self, step: Callable[[], dict[str, Tensor]]) -> Callable[[], dict[str, Tensor]]:
            with monkeypatch.context() as broken:
                broken.setattr(PhaseState, "step", refuse)
                step()
            raise AssertionError("the step went through")

    def refuse(phase: PhaseState) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    eager, other = (make_trainer("vae", *CHANGING) for _ in range(2))
    other.stepper.record_with(Refuses())
    for trainer in (eager, other):
        for _ in range(8):
            trainer.train_step()
    assert largest_difference(eager, other) < 2e-6
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "operation not permitted" in said


def test_columns_are_copied_into_the_recorded_ones() -> None:
    graphs = Graphs(Rerun())
    seen = [float(graphs.make("k", [torch.tensor([float(i)])], lambda c: {"x": c[0] * 2}, int)["x"]) for i in range(8)]
    assert seen == [2.0 * i for i in range(8)]


@pytest.mark.parametrize(
    ("settings", "runtime", "closed_form", "word"),
    [
        (TrainerConfig(), Runtime(torch.device("cpu"), "fp16"), False, "fp16"),
        (TrainerConfig(grad_accum_steps=2), Runtime(torch.device("cpu")), False, "grad_accum_steps"),
        (TrainerConfig(), Runtime(torch.device("cpu"), world_size=2), False, "processes"),
        (TrainerConfig(), Runtime(torch.device("cpu")), True, "phase"),
    ],
)
def test_what_hinders_a_recording(settings: TrainerConfig, runtime: Runtime, closed_form: bool, word: str) -> None:
    assert word in (why_not_capturable(settings, runtime, closed_form) or "")
    assert why_not_capturable(TrainerConfig(), Runtime(torch.device("cpu"), "bf16"), False) is None


def test_what_cannot_be_compiled_runs_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Tensor]:
        raise RuntimeError("no compiler here")

    double = compiled(lambda x: x * 2, "phase 'model'", backend=backend)
    assert [float(double(torch.tensor(3.0))) for _ in range(2)] == [6.0, 6.0]
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "phase 'model'" in said
    assert "no compiler here" in said


@pytest.mark.parametrize("family", FAMILIES)
def test_a_compiled_step_is_the_eager_one(make_trainer: MakeTrainer, family: str) -> None:
    """Traced and differentiated by torch.compile, run without its code generator, which takes half a minute."""
    eager, other = (make_trainer(family, *CHANGING) for _ in range(2))
    Compilation(other.stepper, backend="aot_eager")
    for trainer in (eager, other):
        for _ in range(5):
            values = trainer.train_step()
    assert all(value.isfinite() for value in values.values())
    assert largest_difference(eager, other) < 1e-5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
@pytest.mark.parametrize("family", FAMILIES)
def test_cuda_graphs_give_what_eager_steps_give(
    make_trainer: MakeTrainer, family: str, optimizer: str, precision: str
) -> None:
    """100 steps; Adam moves a weight by at most its rate a step, so that rounding may grow to a few of these."""
    runtime = Runtime(torch.device("cuda", 0), precision)
    keys = [*CHANGING, f"optimizer={optimizer}", "optimizer.lr=0.0005"]
    eager, graphs = (make_trainer(family, *keys, f"trainer.cuda_graphs={on}", runtime=runtime) for on in (False, True))
    for trainer in (eager, graphs):
        for _ in range(100):
            values = trainer.train_step()
    assert all(value.isfinite() for value in values.values())
    assert largest_difference(eager, graphs) < (1e-3 if precision == "fp32" else 2e-2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_a_bad_batch_in_a_replayed_step_changes_nothing(make_trainer: MakeTrainer, optimizer: str) -> None:
    """The recorded step finds the number that is not finite by itself; the host hears of it at the next log step."""
    trainer = make_trainer("vae", f"optimizer={optimizer}", runtime=Runtime(torch.device("cuda", 0)))
    for _ in range(6):
        trainer.train_step()
    before = [p.detach().clone() for p in trainer.model.parameters()]
    at = trainer.batches.at
    trainer.batches.at = lambda *a: tuple(column * float("nan") for column in at(*a))  # type: ignore[method-assign]
    trainer.train_step()
    assert all(torch.equal(p, q) for p, q in zip(trainer.model.parameters(), before, strict=True))
    with pytest.raises(DivergedError):
        trainer._log({})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_step_that_looks_at_a_value_is_not_recorded(
    make_trainer: MakeTrainer, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make_trainer("vae", runtime=Runtime(torch.device("cuda", 0)))
    only = trainer.phases[0]
    sound = only.spec.objective
    only.spec = Phase("model", lambda image: (image.sum().item(), sound(image))[1], only.spec.module)
    for _ in range(8):
        assert trainer.train_step()["loss"].isfinite()
    assert "cannot be recorded" in capsys.readouterr().err
