"""The loop: steps (step.py), and between them logs, evaluations, checkpoints and a requested stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genlab.checkpoint import manager
from genlab.config.trainer_config import CheckpointConfig, TrainerConfig, cadence, in_steps
from genlab.core.evaluator import Evaluator
from genlab.core.model import Model
from genlab.core.values import Logger
from genlab.distributed.float64 import float64_on_host
from genlab.distributed.runtime import Runtime
from genlab.distributed.stop_sync import Agreement
from genlab.engine.compiling import Compilation
from genlab.engine.optimizers import Schedule
from genlab.engine.phase_state import MakeOptimizer
from genlab.engine.ranking import Ranking
from genlab.engine.saved_state import checked
from genlab.engine.step import Stepper
from genlab.engine.timer import Clock
from genlab.engine.validation import Validation
from genlab.errors import CheckpointError, Stopped
from genlab.utils.terminal import say

if TYPE_CHECKING:
    from genlab.data.dataset import Data


AT_RISK = 10.0  # seconds of training: if more are unsaved, a checkpoint comes before the final evaluations
TIME_OVER = 1000  # in place of a signal's number, above all of them
Save = Callable[[int, Mapping[str, Any], dict[str, Any]], None]  # step, objects with a state, plain state


class Trainer:
    """Trains `model` on `data` for `total` optimizer steps; `step` counts those done."""

    def __init__(
        self,
        model: Model,
        data: Data,
        runtime: Runtime,
        config: TrainerConfig,
        saving: CheckpointConfig,
        *,
        seed: int,
        optimizer: MakeOptimizer,
        schedule: Schedule,
        evaluators: Mapping[str, Evaluator],
    ) -> None:
        self.model, self.data, self.runtime, self.config, self.seed = model, data, runtime, config, seed
        self.schedule = schedule
        self._logger: Logger = Logger()
        self._save: Save = lambda step, objects, state: None
        self._stop: Callable[[], int] = lambda: 0
        self.stepper = Stepper(model, data, runtime, config, seed, optimizer)
        if config.compile:
            Compilation(self.stepper)
        self.phases, self.average = self.stepper.phases, self.stepper.average
        self.batches = self.stepper.batches
        self.batches.end = self.total = config.total(self.batches.per_epoch)
        self.step = 0
        self._rare = tuple(f"{phase.name}/" for phase in self.phases if phase.spec.every > 1)
        self._rare_logs: dict[str, Tensor] = {}  # the last values of these phases, still on the device
        self._next_record: dict[str, float] = {}  # those fetched since the last record: a checkpoint holds them
        self._save_every = in_steps(saving.every, self.batches.per_epoch, self.total)
        self._clock = Clock(config.batch_size)
        self._keeps_best = bool(saving.best)
        patience = None if config.patience is None else in_steps(config.patience, self.batches.per_epoch, self.total)
        monitor = f"valid/{model.monitor}" if model.monitor else None
        self.ranking = Ranking(saving.best if isinstance(saving.best, str) else monitor, patience)
        self.exhausted = False  # the ranking has not improved for as long as `patience`: the run ends
        self.out_of_time = False  # `trainer.max_time` has ended this process's part of the run
        self.validation = Validation(
            evaluators, model, self.average, data, runtime, seed, self._clock, self.ranking,
            lambda every, n: cadence(every, self.batches.per_epoch, self.total, n, config.batch_size),
        )  # fmt: skip
        self._counted = 0  # the step up to which the clock has counted
        self._kept = 0.0  # seconds of training up to the last checkpoint of this process

    # ------------------------------------------------------------------ checkpoints

    def objects(self) -> dict[str, Any]:
        """The objects whose state a checkpoint holds, by name."""
        named: dict[str, Any] = {"model": self.model}
        if self.average:
            named["ema"] = self.average
        for phase in reversed(self.phases):  # an optimizer that several phases share has the name of the first
            for kind, shared in (("optimizer", phase.optimizer), ("scaler", phase.scaler)):
                if shared:
                    named = {name: each for name, each in named.items() if each is not shared}
                    named[f"{kind}/{phase.name}"] = shared
        return named

    def state_bytes(self) -> int:
        """The approximate size of a checkpoint: weights, their average, and two moments of each."""
        weights = sum(tensor.nbytes for tensor in self.model.state_dict().values())
        return weights * (4 if self.average else 3)

    def state(self) -> dict[str, Any]:
        """The plain state that a checkpoint holds in addition to `objects`."""
        return {"step": self.step, "total": self.total, "best": self.ranking.best, **self.validation.state(),
                "next_record": self._next_record}  # fmt: skip

    def seconds(self) -> dict[str, float]:
        """Seconds of `fit` so far by activity: training, validation, images, logging, checkpoints."""
        return dict(self._clock.seconds)

    def restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Resume from a checkpoint; CheckpointError if it does not fit this run, which is then unchanged."""
        state = checked(state)
        if state["step"] > self.total:
            raise CheckpointError(
                f"the checkpoint is at step {state['step']}, the run ends at {self.total}",
                "key trainer.steps",
                "set trainer.steps to at least the checkpoint's step",
            )
        manager.unpack(self.objects(), tensors, state["structure"])
        for phase in self.phases:
            phase.configure()
        self.step, self._next_record = state["step"], state["next_record"]
        self.ranking.restore(state["best"])
        self.validation.restore(state)
        self.exhausted = self.validation.evaluates(self.step) and self.ranking.exhausted(self.step)

    @property
    def ended(self) -> bool:
        """Whether all steps are done, or as many as `trainer.patience` allows."""
        return self.step >= self.total or self.exhausted

    # ------------------------------------------------------------------ the loop

    def fit(
        self, logger: Logger, save: Save, stop: Callable[[], int], watch: Callable[[int], bool] = lambda step: False
    ) -> dict[str, float]:
        """Train to the end and return the last metrics: `valid/...` and `images_per_second`.

        `save` writes a checkpoint; `stop` returns the number of a signal that asked to stop, or 0; `watch` is called
        after each step with its number, and returns True to save and end the run there. It ends before its last step
        too when `trainer.patience` or, with a state to resume from, `trainer.max_time` is over.
        Raises DivergedError before a non-finite update is made, and Stopped after saving on a signal.
        """
        self._logger, self._save, self._stop = logger, save, stop
        self._logger.start(self.step, self.total, type(self.model).__name__)
        self.model.train()
        self._counted, self._began = self.step, time.perf_counter()
        self._agreement = Agreement(self.runtime, self.step)
        self._clock.go()
        try:
            if self.validation.due:  # evaluators that had failed, or had not ended, when this step was saved
                self.validation.run(self.step, self.total, self._logger)
                self._keep()
                self._clock.go()
            while not self.ended:
                self._after_step(self.train_step())
                if self.out_of_time:
                    break
                if watch(self.step) and not self.ended:
                    self._count_steps()
                    self._keep()
                    break
        finally:
            self.batches.close()  # ends the thread that reads ahead
        return self.validation.metrics

    def train_step(self) -> dict[str, Tensor]:
        """One optimizer step of every phase that is due; returns logged scalars by name, still on the device."""
        factor = self.schedule((self.step + 0.5) / self.total)  # the middle of the step: a warm-up does not start at 0
        values = self.stepper.make(self.step, self.total, factor, self._logs(self.step + 1))
        self.step += 1
        return values

    def _logs(self, step: int) -> bool:
        """Whether a record follows when `step` steps are done."""
        return step == self.total or step % self.config.log_every == 0

    # ------------------------------------------------------------------ between steps

    def _after_step(self, values: dict[str, Tensor]) -> None:
        # copies: the next step of a CUDA graph overwrites its values
        self._rare_logs |= {name: value.clone() for name, value in values.items() if name.startswith(self._rare)}
        last = self.step == self.total
        logs = self._logs(self.step)
        saves = last or self.step % self._save_every == 0
        self.validation.plan(self.step, last)
        signum = self._agreement.largest(self.step, self._stop() or self._time_over())
        if not (logs or saves or self.validation.due or signum):
            return
        self._count_steps()
        self._next_record = self._next_record | self._fetched(self._rare_logs | values if logs else self._rare_logs)
        self._rare_logs = {}
        if logs:
            self._log(self._next_record)
            self._next_record = {}
        if last and self.validation.due and self._clock.seconds["training"] - self._kept > AT_RISK:
            self._keep()  # a run that is killed during the evaluations resumes with them
            if self.runtime.is_main:
                say(f"step {self.step} is saved; evaluating: {', '.join(self.validation.due)}")
        try:
            done = self.validation.run(self.step, self.total, self._logger)
            if done and self._runs_out_of_patience():  # at evaluations alone: logs and saves do not move the end
                self.validation.plan(self.step, last=True, done=done)
                self.validation.run(self.step, self.total, self._logger)
        except Exception:  # a failed evaluation loses no training: a resumed run repeats it
            self._keep()
            raise
        if saves or signum or self.exhausted or (self._keeps_best and self.ranking.improved(self.step)):
            self._keep()
        self._clock.go()
        self.out_of_time = signum == TIME_OVER
        if signum and not self.out_of_time and not self.ended:
            raise Stopped(signum, f"stopped at step {self.step} of {self.total}", "state saved")

    def _time_over(self) -> int:
        """TIME_OVER if this process has trained for `trainer.max_time`, else 0."""
        limit = self.config.max_seconds
        return TIME_OVER if limit is not None and time.perf_counter() - self._began >= limit else 0

    def _runs_out_of_patience(self) -> bool:
        """Whether the run ends here because its ranking has not improved; as rank 0 says, which knows all metrics."""
        if self.ranking.patience is None or self.step == self.total or self.exhausted:
            return False
        self.exhausted = self.runtime.broadcast(self.ranking.exhausted(self.step))
        best = self.ranking.best
        if self.exhausted and best and self.runtime.is_main:
            say(f"{best['metric']} has not improved since step {best['step']}: the run ends here (trainer.patience)")
        return self.exhausted

    def _count_steps(self) -> None:
        self.runtime.synchronize()  # so that the clock counts finished work
        self._clock.pause(self.step - self._counted)
        self._counted = self.step

    def _fetched(self, values: dict[str, Tensor]) -> dict[str, float]:
        """The means over ranks, on the host: one transfer for all."""
        means = self.runtime.mean(values)
        with float64_on_host(self.runtime.device):
            stacked = torch.stack([value.double() for value in means.values()]) if means else torch.empty(0)
        return dict(zip(means, stacked.tolist(), strict=True))

    def _log(self, values: dict[str, float]) -> None:
        self.stepper.check_finite(self.step)
        for phase in self.phases:
            phase.check_scale(self.step)
        logs = dict(values)
        for phase in self.phases:
            if phase.optimizer and phase.active(self.step - 1, self.total):
                logs.setdefault("learning_rate", phase.optimizer.param_groups[0]["lr"])
        logs["images_per_second"] = round(self._clock.recent(), 1)
        if self.runtime.is_main:
            self._logger.scalars(self.step, "train", logs)
        self._clock.lap("logging")

    def _keep(self) -> None:
        self.stepper.check_finite(self.step)
        if self.runtime.is_main:
            self.validation.metrics["images_per_second"] = round(self._clock.overall(), 1)
            self._logger.flush()
            self._save(self.step, self.objects(), self.state())
        self._kept = self._clock.seconds["training"]
        self._clock.lap("checkpoints")
