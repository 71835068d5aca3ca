"""The evaluators of a run while it trains: when each is due, and what they have found so far."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from genlab.core.evaluator import Evaluator
from genlab.core.model import Model
from genlab.core.values import Diagnosis, Embedding, Image, Logger
from genlab.distributed.runtime import Runtime
from genlab.engine.evaluate import evaluate, numbers, with_charts
from genlab.engine.optimizers import Average
from genlab.engine.ranking import Ranking
from genlab.engine.timer import Clock
from genlab.registry import Cadence
from genlab.utils.terminal import say

if TYPE_CHECKING:
    from genlab.data.dataset import Data


class Validation:
    """Runs `evaluators` on the averaged weights, if there are any; those that do not apply are left out.

    `in_steps(every, images)`: the steps between two runs of an evaluator that reads so many images.
    """

    def __init__(
        self,
        evaluators: Mapping[str, Evaluator],
        model: Model,
        average: Average | None,
        data: Data,
        runtime: Runtime,
        seed: int,
        clock: Clock,
        ranking: Ranking,
        in_steps: Callable[[Cadence, int], int],
    ) -> None:
        self._model, self._average, self._data, self._runtime, self._seed = model, average, data, runtime, seed
        self._clock, self._ranking = clock, ranking
        self.metrics: dict[str, float] = {}  # the last value of each
        self.diagnoses: list[dict[str, Any]] = []
        self.protocols: dict[str, dict[str, Any]] = {}  # of the last run of each evaluator that has found anything
        self.due: list[str] = []  # evaluators still to be run at this step
        sizes = data.sizes()
        self.evaluators = {
            key: e for key, e in evaluators.items() if e.applies(model) and (e.split is None or sizes[e.split])
        }
        self.cadence = {key: in_steps(e.every, sizes.get(e.split or "", 0)) for key, e in self.evaluators.items()}

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds; copies, since another thread writes them during training."""
        memory = {key: each.memory for key, each in self.evaluators.items() if each.memory is not None}
        return {"metrics": self.metrics, "diagnoses": list(self.diagnoses), "protocols": dict(self.protocols),
                "due": list(self.due), "memory": memory}  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        self.metrics, self.diagnoses, self.protocols = state["metrics"], state["diagnoses"], state["protocols"]
        self.due = [key for key in state["due"] if key in self.evaluators]
        for key, known in state["memory"].items():
            if key in self.evaluators:
                self.evaluators[key].memory = known

    def plan(self, step: int, last: bool, done: Collection[str] = ()) -> None:
        """Note which evaluators are due at a step: in the last one all of them, without those `done`."""
        self.due = [key for key, every in self.cadence.items() if (last or step % every == 0) and key not in done]

    def evaluates(self, step: int) -> bool:
        """Whether an evaluator is due at a step before the last."""
        return any(step % every == 0 for every in self.cadence.values())

    def run(self, step: int, total: int, logger: Logger) -> list[str]:
        """Run the evaluators that are due; returns their keys. Only rank 0 logs."""
        done = []
        while self.due:
            self._run_one(self.due[0], step, total, logger)
            done.append(self.due.pop(0))
        return done

    def _run_one(self, key: str, step: int, total: int, logger: Logger) -> None:
        evaluator = self.evaluators[key]
        model = self._average.model if self._average and not evaluator.live else self._model
        values = evaluate(evaluator, model, self._data, self._seed, runtime=self._runtime)  # type: ignore[arg-type]
        found = with_charts(evaluator, values)
        scalars, split = numbers(found), evaluator.split or "train"
        last = {f"{split}/{name}": value for name, value in scalars.items()}
        if found:
            self.protocols[key] = {**evaluator.protocol(), "metrics": list(last)}
        if scalars:
            if self._runtime.is_main:
                logger.scalars(step, split, scalars)
            self.metrics.update(last)
            self._ranking.note(step, self.metrics)
        for name, value in found:
            if isinstance(value, Image):
                logger.image(step, name, value)
            elif isinstance(value, Embedding):
                logger.embedding(step, name, value)
            elif isinstance(value, Diagnosis):
                self._diagnose(name, value, step, total, logger)
        self._clock.lap("validation" if scalars else "images")

    def _diagnose(self, name: str, found: Diagnosis, step: int, total: int, logger: Logger) -> None:
        """Log a diagnosis each time; print it once per run."""
        if not found.due(step, total):
            return
        logger.text(step, f"diagnosis/{name}", found.sentence)
        if all(known["name"] != name for known in self.diagnoses):
            self.diagnoses.append({"step": step, "name": name, "sentence": found.sentence})
            say(f"diagnosis: {found.sentence}")
