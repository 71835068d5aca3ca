"""A measurement with `genlab eval`: what it depends on, the name of its result, and everywhere that shows it."""

from __future__ import annotations

import dataclasses
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genlab import __version__
from genlab.config import overrides
from genlab.config.compose import search_path
from genlab.config.yaml_comments import options, values
from genlab.core.values import Loggers
from genlab.errors import BusyError, ConfigError
from genlab.registry import EVALUATORS, LOGGERS, unknown_name
from genlab.reports.report import write_report
from genlab.runs import evaluations, run_folder
from genlab.utils.terminal import say

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

    from genlab.core.evaluator import Evaluator
    from genlab.core.values import Image, Value
    from genlab.data.dataset import Data
    from genlab.workflows.build import LoadedRun


EFFECTIVE = os.access in os.supports_effective_ids


@dataclass(frozen=True)
class Result:
    """What one measurement shows: its group in TensorBoard, numbers and images."""

    group: str
    metrics: Mapping[str, float | None]
    images: Mapping[str, Image]


@dataclass(frozen=True)
class Measurement:
    """One evaluator on one split, with `repeats` seeds from `seed` on.

    `entry` is its key in the configuration; `name` is the user's own.
    """

    loaded: LoadedRun
    entry: str
    evaluator: Evaluator
    split: str | None  # None: the evaluator reads no data
    seed: int
    repeats: int
    name: str | None

    @property
    def stem(self) -> str:
        """The name of the result, without suffix: another protocol or checkpoint has another name."""
        title, variant = (self.name, "") if self.name else (self.entry, self._variant)
        return evaluations.file_stem(title, self.split, variant, self.loaded.step)

    @property
    def group(self) -> str:
        """The first part of names in TensorBoard: the split, as in training, and what is special in the protocol."""
        return "-".join(filter(None, (self.split or "train", self.name or self._variant)))

    @property
    def _variant(self) -> str:
        usual = {"seed": self.loaded.config["seed"], "repeats": self.evaluator.repeats}
        own = {"seed": self.seed, "repeats": self.repeats}
        return evaluations.variant(changed_keys(self.evaluator) | {k: v for k, v in own.items() if v != usual[k]})

    def identity(self) -> dict[str, Any]:
        """The entries of the protocol that tell results apart."""
        return {
            "evaluator": self.entry, "options": changed_keys(self.evaluator), "split": self.split, "seed": self.seed,
            "step": self.loaded.step, "weights": self.loaded.weights,
            **({"repeats": self.repeats} if self.repeats > 1 else {}),
        }  # fmt: skip

    def run(self) -> tuple[list[tuple[str, Value]], dict[str, Any]]:
        """Names and values, and the protocol. ConfigError, before anything is computed, if the result has no place."""
        from genlab.engine.evaluate import evaluate, with_charts

        refuse_read_only(self.loaded)
        evaluations.refuse_taken(self.loaded.path, f"{self.stem}.json", self.identity())
        data = self.loaded.data()
        if self.split:
            self.evaluator.check(self.loaded.model, data.split(self.split))
        seeds = range(self.seed, self.seed + self.repeats)
        found = [evaluate(self.evaluator, self.loaded.model, data, seed, self.split) for seed in seeds]
        return with_charts(self.evaluator, averaged(found)), self._protocol(data)

    def _protocol(self, data: Data) -> dict[str, Any]:
        return {
            **self.evaluator.protocol(), **self.identity(),
            "count": len(data.split(self.split)) if self.split else None,
            "checkpoint_sha256": self.loaded.sha256, "dataset": data.name, "data_fingerprint": data.fingerprint,
            "split_seed": data.split_seed,
            "device": str(self.loaded.runtime.device), "precision": "fp32", "genlab": __version__,
        }  # fmt: skip


def configured(config: Mapping[str, Any], names: Sequence[str], changes: Sequence[Override]) -> dict[str, Evaluator]:
    """The named evaluators by entry, as a run was configured, with the changes of a command line."""
    stored = {entry: spec for entry, spec in config["evaluator"].items() if spec}
    specs: dict[str, dict[str, Any]] = {}
    for name in (each for group in names for each in _listed(group)):
        if name not in stored and name not in EVALUATORS:
            raise unknown_name("evaluator", name, "evaluator", {*stored, *EVALUATORS.names()})
        spec = stored.get(name, {"name": name})
        optional = EVALUATORS.schema(spec["name"]).model_fields.items()
        specs[name] = {**{key: None for key, field in optional if field.default is None}, **spec}
    specs = overrides.assign({"evaluator": specs}, changes, {"evaluator": EVALUATORS.names()})["evaluator"]
    keys = {entry: f"evaluator.{entry}" for entry in specs}
    return {entry: EVALUATORS.build(specs[entry], key, key=key) for entry, key in keys.items()}


def _listed(name: str) -> list[str]:
    """The evaluators that a YAML file of genlab lists, or the name itself."""
    folders = [search_path()]
    file = options("evaluator", folders).get(name)
    return list(values(file, folders)) if file else [name]


def averaged(found: Sequence[list[tuple[str, Value]]]) -> list[tuple[str, Value]]:
    """The values of the first of several seeds, with each number's mean and standard deviation over all of them."""
    if len(found) == 1:
        return found[0]
    values: list[tuple[str, Value]] = []
    for name, value in found[0]:
        if not isinstance(value, float | int):
            values.append((name, value))
            continue
        each = [float(other) for seed in found for key, other in seed if key == name and isinstance(other, float | int)]
        values.append((name, statistics.fmean(each)))
        if len(each) > 1:  # a number may be missing with some seeds
            known = all(map(math.isfinite, each))
            values.append((f"{name}{evaluations.SEED_SD}", statistics.stdev(each) if known else math.nan))
    return values


def changed_keys(evaluator: Evaluator) -> dict[str, Any]:
    """The keys of an evaluator that are not at their default; `every` says nothing about one measurement."""
    found = {}
    for field in dataclasses.fields(evaluator):
        default = field.default_factory() if callable(field.default_factory) else field.default
        value, default = (list(v) if isinstance(v, tuple) else v for v in (getattr(evaluator, field.name), default))
        if field.init and field.name not in ("every", "key") and value != default:
            found[field.name] = value
    return found


def finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """`metrics` with None for numbers that JSON lacks."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def refuse_read_only(loaded: LoadedRun) -> None:
    """ConfigError if nothing can be written in the run folder; otherwise found after minutes of computing."""
    folders = [loaded.path, loaded.path / evaluations.FOLDER]
    for folder in filter(os.path.isdir, folders):
        if not os.access(folder, os.W_OK | os.X_OK, effective_ids=EFFECTIVE):
            raise ConfigError(
                "the result cannot be written (the folder is read-only)",
                f"{folder}",
                "copy the run, or allow access to it",
            )


def publish(loaded: LoadedRun, results: Sequence[Result]) -> None:
    """Show results that have just been written: in TensorBoard, run.json and report.html."""
    if not results or not run_folder.is_run(loaded.path):  # of a model file
        return
    _log(loaded, [each for each in results if each.metrics or each.images])
    record = run_folder.read_record(loaded.path)
    try:
        folder = run_folder.RunFolder.open(loaded.path)
    except BusyError:
        say("the run is in use: run.json and report.html list the result when it ends, or after the next genlab eval")
        return
    missing = "run.json and report.html do"
    try:
        folder.update(evaluations=evaluations.read_all(loaded.path))
        missing = "report.html does"
        write_report(loaded.path, {**record, "evaluations": folder.record["evaluations"]}, loaded.config)
    except Exception as error:  # the results themselves are safe; a record may be strange, an image damaged
        say(f"warning: {missing} not show the result ({type(error).__name__}: {error})")
    finally:
        folder.release()


def _log(loaded: LoadedRun, results: Sequence[Result]) -> None:
    """Into RUN/eval, so that TensorBoard shows a run of its own: while training, it reads only the newest file of a
    folder, and a resumed training discards what is in its own."""
    specs = {key: spec for key, spec in loaded.config["logger"].items() if spec}
    chosen = {k: spec for k, spec in specs.items() if getattr(LOGGERS.get(spec["name"]), "evaluations", False)}
    if not chosen or not results:
        return
    folder = loaded.path / evaluations.FOLDER
    loggers = Loggers(
        LOGGERS.build(spec, f"logger.{key}", folder=folder, resumed_at=loaded.step) for key, spec in chosen.items()
    )
    loggers.start(loaded.step, loaded.step, loaded.config["name"])
    for each in results:
        numbers = {name: math.nan if value is None else value for name, value in each.metrics.items()}
        if numbers:
            loggers.scalars(loaded.step, each.group, numbers)
        for name, image in each.images.items():
            loggers.image(loaded.step, f"{each.group}/{name}", image)
    loggers.close()
