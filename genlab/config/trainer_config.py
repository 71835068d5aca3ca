"""The sections `trainer` and `checkpoint` with the types and bounds of their keys; durations and cadences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from annotated_types import Gt, Lt
from pydantic import StringConstraints

from genlab.errors import ConfigError
from genlab.registry import Cadence, Duration, PositiveFloat, PositiveInt

AUTO = "5%"  # the cadence "auto" of an evaluator ...
TRAINED_PER_EVALUATED = 10  # ... or longer, so that training sees at least this many images per evaluated one


@dataclass(frozen=True)
class TrainerConfig:
    """The `trainer` section; configs/trainer/default.yaml explains each key."""

    steps: PositiveInt | None = None
    epochs: PositiveFloat | None = 20
    batch_size: PositiveInt = 128
    grad_accum_steps: PositiveInt = 1
    grad_clip: PositiveFloat | None = None
    ema_decay: Annotated[float, Gt(0), Lt(1)] | None = None
    log_every: PositiveInt = 50
    device: str = "auto"
    devices: Annotated[int, Gt(0), Lt(65)] = 1
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool | Literal["auto"] = "auto"
    compile: bool = False
    cuda_graphs: bool = True
    deterministic: bool = False
    threads: Annotated[int, Gt(0), Lt(4096)] | Literal["auto"] | None = "auto"  # None: auto, in older runs
    patience: Duration | None = None
    max_time: Annotated[str, StringConstraints(pattern=r"^(\d*[1-9]\d*(\.\d+)?|\d+\.\d*[1-9]\d*)(s|min|h)$")] | None = (
        None
    )

    @property
    def max_seconds(self) -> float | None:
        """`max_time` in seconds."""
        if self.max_time is None:
            return None
        number = self.max_time.rstrip("sminh")
        return float(number) * {"s": 1, "min": 60, "h": 3600}[self.max_time[len(number) :]]

    def total(self, per_epoch: float) -> int:
        """Optimizer steps of the whole run; an epoch has `per_epoch` steps."""
        if self.steps is not None:
            return self.steps
        if self.epochs is None:
            raise ConfigError("the run has no length", "keys trainer.steps and trainer.epochs", "give one of them")
        return max(1, round(self.epochs * per_epoch))


@dataclass(frozen=True)
class CheckpointConfig:
    """The `checkpoint` section."""

    every: Duration = 500
    keep: Annotated[int, Gt(1), Lt(10_000)] = 2
    best: bool | Annotated[str, StringConstraints(pattern=r"^\w+/\S+$")] = False


def with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with every key of `trainer` and `checkpoint`: a file of one's own may leave some out."""
    full = dict(config)
    for name, section in (("trainer", TrainerConfig()), ("checkpoint", CheckpointConfig())):
        given = config.get(name)
        if isinstance(given, Mapping):
            full[name] = {**given, **{key: value for key, value in asdict(section).items() if key not in given}}
    return full


def in_steps(duration: Duration, per_epoch: float, total: int) -> int:
    """A duration ("5%", "2ep" or a number of steps) in optimizer steps, at least one."""
    if isinstance(duration, int):
        return duration
    if duration.endswith("%"):
        return max(1, round(float(duration[:-1]) / 100 * total))
    return max(1, round(float(duration.rstrip("epochs")) * per_epoch))


def cadence(every: Cadence, per_epoch: float, total: int, n: int, batch_size: int) -> int:
    """Optimizer steps between evaluations on `n` images, with `batch_size` images a step; more than `total`: never.

    Evaluating an image costs about a third of training on it, so "auto" limits evaluations to about 3 % of a run of
    any length. The evaluation at the end of a run comes on top.
    """
    if every is None:
        return total
    if every == "auto":
        return max(in_steps(AUTO, per_epoch, total), -(-TRAINED_PER_EVALUATED * n // batch_size))
    return in_steps(every, per_epoch, total)
