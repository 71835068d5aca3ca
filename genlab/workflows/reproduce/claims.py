"""Claims: the runs behind the figures of docs/results.md, how they are measured, and what others published.

Each file of `claims/` is one section of that page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Gt, MinLen
from pydantic import BaseModel, ConfigDict, Field

from genlab.config.yaml_file import parse_config
from genlab.errors import ConfigError, nearest
from genlab.registry import PositiveInt
from genlab.utils.files import read_bounded

FOLDER = Path(__file__).with_name("claims")
RUNS = "{runs}"  # in overrides: the folder of all runs
TRAINING = "training"  # in a row, instead of an evaluation: the last metrics of training, in run.json
LIMIT = 2**18  # bytes of a file
BUDGET = 120.0  # minutes of one core that all cheap runs take together: under two hours whatever the machine
Words = Annotated[list[str], MinLen(1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Run(Strict):
    """A training run, or one for each of the seeds 0, 1, ...; those are a sweep, whose runs are NAME/0, NAME/1, ...

    `minutes` of one core take all of them together, measured or estimated by `dry_run=true`. `evals` are the options of
    `genlab eval` for each.
    """

    overrides: Words
    minutes: Annotated[float, Gt(0)]
    seeds: PositiveInt = 1
    evals: list[list[str]] = []
    after: str | None = None  # the run of the same file that must be there before

    def names(self, name: str) -> list[str]:
        """The names of its run folders."""
        return [name] if self.seeds == 1 else [f"{name}/{seed}" for seed in range(self.seeds)]

    def train_words(self, name: str, folder: Path) -> list[str]:
        """`train ...` below `folder`."""
        words = [word.replace(RUNS, str(folder)) for word in self.overrides]
        if self.seeds == 1:
            return ["train", *words, f"hydra.run.dir={folder / name}"]
        seeds = ",".join(map(str, range(self.seeds)))
        return ["train", "-m", *words, f"seed={seeds}", f"hydra.sweep.dir={folder / name}"]

    def eval_words(self) -> Iterator[tuple[str, list[str]]]:
        """The name of each result, which claims refer to, and the options that give it this name."""
        for words in self.evals:
            values = dict(word.split("=", 1) for word in words)
            name = values.get("name") or values.get("evaluator", "objective")
            yield f"{name}-{values.get('split', 'test')}", [*words, *([] if "name" in values else [f"name={name}"])]


class Row(Strict):
    """One line of a table: `metric` of the result `evaluator` of each run, as mean ± deviation or another `statistic`.

    With `evaluator: training` it is one of the last metrics of training. `protocol` lists the conditions of the claim,
    which the result's protocol must fulfil. A reproduced figure may differ by the fraction `tolerance` from the stored.
    """

    what: str
    runs: Words
    evaluator: str
    metric: str
    protocol: dict[str, Any] = {}
    published: str = ""
    digits: int = 2
    statistic: Literal["mean", "median", "least"] = "mean"
    tolerance: Annotated[float, Gt(0)] = 0.05


class Curve(Strict):
    """Learning curves of runs: a validation metric of metrics.jsonl."""

    runs: Words
    metric: str
    points: Annotated[int, Gt(1)] = 8  # per run, evenly spaced, including the last


class Claims(Strict):
    """One file."""

    title: str
    runs: Annotated[dict[str, Run], Field(min_length=1)]
    rows: Annotated[list[Row], MinLen(1)]
    curves: list[Curve] = []
    notes: str = ""
    pictures: list[str] = []  # paths in the repository

    def folders(self, names: list[str]) -> list[str]:
        """The run folders of these runs."""
        return [folder for name in names for folder in self.runs[name].names(name)]

    def of(self, folder: str) -> Run:
        """The run that a run folder belongs to."""
        return self.runs[folder.split("/")[0]]

    def only(self, names: set[str]) -> Claims | None:
        """The part that rests on these runs alone; None if there is no row left."""
        rows = [row for row in self.rows if names.issuperset(row.runs)]
        if not rows:
            return None
        used = {name: run for name, run in self.runs.items() if any(name in row.runs for row in rows)}
        before = {run.after: self.runs[run.after] for run in used.values() if run.after}
        curves = [curve for curve in self.curves if used.keys() >= set(curve.runs)]
        return self.model_copy(update={"rows": rows, "runs": before | used, "curves": curves})


def load(folder: Path = FOLDER) -> dict[str, Claims]:
    """Every file by name. ConfigError if there is none, or one is wrong."""
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise ConfigError(f"no claims in '{folder}'", "genlab reproduce", "name a folder of YAML files")
    return {path.stem: _read(path) for path in files}


def _read(path: Path) -> Claims:
    try:
        return Claims.model_validate(parse_config(read_bounded(path, LIMIT)))
    except (OSError, ValueError) as error:  # pydantic's too: its second line names the field
        reason = " ".join(str(error).splitlines()[:3])[:200]
        raise ConfigError(f"the claims cannot be used ({reason})", f"file {path}", "correct them") from None


def chosen(claims: Mapping[str, Claims], names: list[str]) -> dict[str, Claims]:
    """The files and runs that `names` name. ConfigError for an unknown name."""
    found: dict[str, Claims] = {}
    runs = {run: file for file, part in claims.items() for run in part.runs}
    for name in names:
        if name not in claims and name not in runs:
            raise ConfigError(f"unknown claim '{name[:60]}'", "genlab reproduce", nearest(name, [*claims, *runs]))
    for file, part in claims.items():
        wanted = set(part.runs) if file in names else {name for name in names if runs.get(name) == file}
        kept = part.only(wanted) if wanted else None
        if kept:
            found[file] = kept
    return found


def cheap(claims: Mapping[str, Claims], minutes: float = BUDGET) -> dict[str, Claims]:
    """The cheapest runs, as many as fit into `minutes` of one core, and the rows that rest on them alone."""
    cost = sorted((run.minutes, file, name) for file, part in claims.items() for name, run in part.runs.items())
    taken: dict[str, set[str]] = {}
    for each, file, name in cost:
        minutes -= each
        if minutes < 0:
            break
        taken.setdefault(file, set()).add(name)
    parts = {file: part.only(taken.get(file, set())) for file, part in claims.items()}
    return {file: part for file, part in parts.items() if part}
