"""The schema of run.json. A record is checked when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Ge, Le, Len
from pydantic import BaseModel, ConfigDict

Natural = Annotated[int, Ge(0), Le(2**53)]
Seconds = Annotated[float, Ge(0), Le(1e12)]  # a duration, or a moment since 1970
Side = Annotated[int, Ge(1), Le(2**16)]


class Part(BaseModel):
    """Known fields have their types; others are kept as they are, for versions to come."""

    model_config = ConfigDict(extra="allow", strict=True, protected_namespaces=())


class DataRecord(Part):
    name: str
    shape: Annotated[list[Side], Len(3, 3)]
    num_classes: Natural | None
    label_names: list[str] | None = None
    fingerprint: str


class ModelRecord(Part):
    options: dict[str, dict[str, list[str]]] = {}  # of `genlab sample RUN` and others: the few values each may have


class Best(Part):
    metric: str
    value: float | None
    step: Natural


class Diagnosed(Part):
    step: Natural
    name: str
    sentence: str


class Protocol(Part):
    """What the numbers of an evaluation depend on; evaluators add more entries."""

    evaluator: str
    options: dict[str, Any] = {}  # the evaluator's keys that are not at their default
    split: str | None = None
    count: Natural | None = None  # images of the split
    seed: Natural
    step: Natural
    weights: str = "raw"


class Evaluation(Part):
    """A result of `genlab eval`."""

    file: str  # in RUN/eval
    metrics: dict[str, float | None]
    protocol: Protocol


class Excursion(Part):
    curve: str
    since: Natural
    until: Natural
    value: float | None
    low: float
    high: float
    ended: bool


class BandRecord(Part):
    """How the run lies in its experiment's band (runs/bands.py)."""

    experiment: str
    runs: Natural
    excursions: list[Excursion]


class Resumed(Part):
    time: Seconds
    command: str


class Record(Part):
    status: str
    code: int | None = None
    step: Natural = 0
    steps: Natural = 0
    started: Seconds = 0
    ended: Seconds | None = None
    seconds: Seconds = 0
    time: dict[str, Seconds] = {}
    resumed: list[Resumed | Seconds] = []  # older versions wrote down the time alone
    pid: Natural | None = None
    threads: Annotated[int, Ge(1), Le(4096)] | None = None
    world_size: Annotated[int, Ge(1), Le(2**20)] = 1
    metrics: dict[str, float | None] = {}
    best: Best | None = None
    diagnoses: list[Diagnosed] = []
    protocols: dict[str, dict[str, Any]] | None = None  # by evaluator that found anything; older runs have none
    evaluations: list[Evaluation] = []
    band: BandRecord | None = None
    error: str | None = None
    data: DataRecord | None = None
    model: ModelRecord | None = None


def checked(record: Mapping[str, Any]) -> dict[str, Any]:
    """`record` with defaults for fields that a new run has not written yet. ValueError names the field at fault."""
    return Record.model_validate(record).model_dump()
