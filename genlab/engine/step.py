"""One optimiser step: batch → phase → loss → backward → average → clip → step → average of weights.

Adversarial training is data here: a list of players, walked once a step. How the same step is made faster (layout in
memory, torch.compile, CUDA graphs) is decided once, before the first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genlab.config.trainer_config import TrainerConfig
from genlab.core import rng
from genlab.core.model import Model
from genlab.distributed.runtime import Runtime
from genlab.engine.compiling import cannot_compile
from genlab.engine.cuda_graphs import CudaRecorder, Graphs, Recorder, why_not_capturable
from genlab.engine.optimizers import Average
from genlab.engine.phase_state import MakeOptimizer, PhaseState
from genlab.errors import DivergedError
from genlab.utils.progress import say

if TYPE_CHECKING:
    from genlab.data.dataset import Data

Values = dict[str, Tensor]  # what was logged, still on the device


class Stepper:
    """Makes the steps of `model` on `data`; knows nothing of what comes between them."""

    def __init__(
        self, model: Model, data: Data, runtime: Runtime, settings: TrainerConfig, seed: int, optimizer: MakeOptimizer
    ) -> None:
        self.model, self.runtime, self.settings, self.seed = model, runtime, settings, seed
        self.channels_last = runtime.channels_last(settings.channels_last, model)
        form = torch.contiguous_format
        if self.channels_last:
            form = torch.channels_last
            model.to(memory_format=form)
        self.batches = data.batches(model.inputs, settings.batch_size, runtime.rank, runtime.world_size, form)
        local_batch_size = self.batches.local_batch_size(settings.grad_accum_steps)
        model.check_batch(local_batch_size)  # a bad batch is refused now, not at step 1
        self._shared_forward: Callable[..., Any] = model.shared_forward
        self.players = PhaseState.all_of(model.phases(), optimizer, runtime)
        self.average = Average(model, settings.ema_decay) if settings.ema_decay else None
        self._progress: Tensor | None = getattr(model, "progress", None)
        self._moving: set[str] | None = None
        self._bad = torch.zeros((), device=runtime.device)  # 1 once a loss or a gradient has not been finite
        self._graphs: Graphs | None = None
        # shared_forward and the objectives, while compiled ones stand in their places
        self._uncompiled: list[Callable[..., Any]] = []
        self._tried: set[tuple[str, ...]] = set()  # kinds of steps: which players move in them
        if runtime.device.type == "cuda" and settings.cuda_graphs:
            self._record_if_possible()
        if settings.compile:
            self.compile()

    # ------------------------------------------------------------------ how steps are made

    def compile(self, backend: str = "inductor") -> None:
        """`Model.shared_forward` and the phases' objectives through torch.compile."""
        from genlab.engine.compiling import compiled

        tell = say if self.runtime.is_main else _silent
        self._uncompiled = [self._shared_forward, *(player.phase.objective for player in self.players)]
        if type(self.model).shared_forward is not Model.shared_forward:
            self._shared_forward = compiled(self._shared_forward, "shared_forward()", backend, tell)
        for player in self.players:
            if player.optimizer:
                fast = compiled(player.phase.objective, f"phase '{player.phase.name}'", backend, tell)
                player.phase = replace(player.phase, objective=fast)

    def _try(self, due: list[PhaseState], step: int) -> None:
        """What is compiled, with its gradients and no effect, before the first step of a kind; as it is if it fails.

        A graph can be compiled whose gradient cannot. Were that found within a step, other players would have moved.
        """
        kind = tuple(player.phase.name for player in due)
        if not self._uncompiled or kind in self._tried:
            return
        self._tried.add(kind)
        before = [buffer.clone() for buffer in self.model.buffers()]
        try:
            for players in [due] if self.settings.grad_accum_steps == 1 else [[player] for player in due]:
                shared = self._part(players, step, 0)
                for player in players:
                    if player.optimizer:
                        self._only([player])
                        with self._mode(player):
                            loss = player.phase.objective(*shared)["loss"]
                        player.backward(loss)
        except RuntimeError as error:
            if not cannot_compile(error):
                raise
            self._give_up_compiling(error)  # every rank does: they run the same code
        for player in due:
            player.drop_gradients()
        for buffer, value in zip(self.model.buffers(), before, strict=True):
            buffer.copy_(value)

    def _give_up_compiling(self, error: RuntimeError) -> None:
        reason = " ".join(str(error).split())[:120]
        if self.runtime.is_main:
            say(f"a compiled step cannot be made ({type(error).__name__}: {reason}); steps are made as they are")
        self._shared_forward, *objectives = self._uncompiled
        self._uncompiled = []
        for player, objective in zip(self.players, objectives, strict=True):
            player.phase = replace(player.phase, objective=objective)

    def _record_if_possible(self) -> None:
        always = any(
            player.optimizer is None and player.phase.every == 1 and player.phase.window == (0.0, 1.0)
            for player in self.players
        )
        reason = why_not_capturable(self.settings, self.runtime, always)
        if reason is None:
            self.record_with(CudaRecorder())
        elif self.runtime.is_main:
            say(f"steps are not recorded as CUDA graphs: {reason}")

    def record_with(self, recorder: Recorder) -> None:
        """From now on steps are recorded and replayed by `recorder`."""
        if self.average:
            self.average.capturable()
        self._graphs = Graphs(recorder)

    # ------------------------------------------------------------------ a step

    def make(self, step: int, total: int, factor: float) -> Values:
        """Step `step` (from 0) of `total`, at `factor` times the configured learning rates."""
        due = [player for player in self.players if player.due(step, total)]
        for player in due:
            player.set_rate(factor)
        if self._progress is not None:
            self._progress.fill_((step + 0.5) / total)
        if self.average:
            self.average.at(step + 1)
        self._try(due, step)
        if self.settings.grad_accum_steps > 1:
            return self._update(due, step, partial(self._parts, step=step))
        columns = self.batches.at(step)
        seed = partial(rng.seed, self.seed, step, 0)  # what a step draws can be had again: a resumed run is the same
        if self._graphs is None:
            seed()
            shared = self._share(due, columns)
            return self._update(due, step, lambda player: [shared])
        if any(player.optimizer is None for player in due):  # what such a phase does may need the host
            seed()
            return self._capturable(due, step, columns)
        kind = tuple(player.phase.name for player in due)
        return self._graphs.make(kind, columns, partial(self._capturable, due, step), seed)

    def _update(
        self, due: list[PhaseState], step: int, parts: Callable[[PhaseState], Iterable[tuple[Tensor, ...]]]
    ) -> Values:
        """Each player's update from the `parts` of its batch, in turn; the means of what they log.

        `step` may only stand in messages: a recording is replayed for later ones.
        """
        values: Values = {}
        count = self.settings.grad_accum_steps
        for player in due:
            said: Values = {}
            for shared in parts(player):
                self._only([player])
                with self._mode(player):
                    logged = player.phase.objective(*self._seen_by(player, shared))
                if player.optimizer:
                    player.backward(logged["loss"] / count if count > 1 else logged["loss"])
                for name, value in logged.items():
                    said[name] = said[name] + value.detach() if name in said else value.detach()
            if count > 1:
                said = {name: value / count for name, value in said.items()}
            self._descend(player, step, said)
            values |= self._named(player, said)
        if self.average:
            self.average.blend()
        return values

    def _capturable(self, due: list[PhaseState], step: int, columns: Sequence[Tensor]) -> Values:
        with contextlib.ExitStack() as stack:
            for player in {id(player.optimizer): player for player in reversed(due)}.values():  # each optimiser once
                stack.enter_context(player.capturable())
            try:
                shared = self._share(due, columns)
                return self._update(due, step, lambda player: [shared])
            except RuntimeError:  # what a broken recording left in the gradients was never computed
                for player in due:
                    player.drop_gradients()
                raise

    def _parts(self, player: PhaseState, step: int) -> Iterator[tuple[Tensor, ...]]:
        """The parts of a batch that is computed in parts: each player takes them one after another, drawn anew."""
        return (self._part([player], step, part) for part in range(self.settings.grad_accum_steps))

    def _part(self, due: list[PhaseState], step: int, part: int) -> tuple[Tensor, ...]:
        columns = self.batches.at(step, part, self.settings.grad_accum_steps)
        rng.seed(self.seed, step, part)
        return self._share(due, columns)

    def _share(self, due: list[PhaseState], columns: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What the phases share of these columns."""
        self._only(due)
        with self.runtime.autocast():
            return tuple(self._shared_forward(*columns))

    def _named(self, player: PhaseState, said: Values) -> Values:
        descending = sum(each.optimizer is not None for each in self.players)
        if len(self.players) == 1 or (player.optimizer and descending == 1):
            return said
        return {f"{player.phase.name}/{name}": value for name, value in said.items()}

    def _descend(self, player: PhaseState, step: int, said: Values) -> None:
        """Update the player's parameters, unless a loss or a gradient is not finite; logs the gradient's norm."""
        if not player.optimizer:
            return
        said["gradient_norm"], bad = player.descend(self.runtime, self.settings.grad_clip, said["loss"])
        if isinstance(bad, Tensor):  # looked at when something is logged
            torch.maximum(self._bad, bad, out=self._bad)
        elif bad:
            raise _diverged(player.phase.name, step)
        player.step()

    def _mode(self, player: PhaseState) -> contextlib.AbstractContextManager[Any]:
        """How a phase is computed: with gradients in mixed precision, or without any, the same on every rank."""
        return self.runtime.autocast() if player.optimizer else _without_gradients()

    def _seen_by(self, player: PhaseState, shared: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """A phase without gradients sees the whole batch, if it says so: every rank makes the same update from it."""
        return self.runtime.gather(shared) if player.phase.gathers and not player.optimizer else shared

    def check_finite(self, step: int) -> None:
        """DivergedError if a loss or a gradient has not been finite on a device that was not asked at once."""
        if self._bad:
            raise _diverged("+".join(player.phase.name for player in self.players), step)

    def _only(self, players: Iterable[PhaseState]) -> None:
        """Only these players' parameters take gradients."""
        names = {player.phase.name for player in players}
        if names == self._moving:
            return
        self._moving = names
        for player in self.players:
            if player.phase.name not in names:
                for parameter in player.parameters:
                    parameter.requires_grad_(False)
        for player in self.players:
            if player.phase.name in names:
                for parameter in player.parameters:
                    parameter.requires_grad_(True)


@contextlib.contextmanager
def _without_gradients() -> Iterator[None]:
    with torch.no_grad(), rng.alone():
        yield


def _silent(line: str) -> None:
    """Another rank says it."""


def _diverged(phase: str, step: int) -> DivergedError:
    return DivergedError(
        f"the loss or a gradient of phase '{phase}' is not finite at step {step}",
        "no such update was made",
        "try a lower optimizer.lr, trainer.grad_clip=1 or precision=fp32",
    )
