"""Claims: the runs behind the figures of docs/results.md, how they are measured, and what others published.

Each file of `claims/` is one section of that page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from genlab.config.yaml_file import parse_config
from genlab.errors import ConfigError, nearest
from genlab.utils.files import read_bounded

FOLDER = Path(__file__).with_name("claims")
RUNS = "{runs}"  # in overrides: the folder of all runs
TRAINING = "training"  # in a row, instead of an evaluation: the last metrics of training, in run.json
LIMIT = 2**18  # bytes of a file
BUDGET = 120.0  # minutes of one core that all cheap runs take together: under two hours whatever the machine
Words = Annotated[list[str], MinLen(1)]
Option = Annotated[str, StringConstraints(pattern=r"^[^=]+=")]  # key=value
RunName = Annotated[str, StringConstraints(pattern=r"^\w[\w.+-]*$")]  # of a folder


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Evaluation(NamedTuple):
    """One measurement: the `options` of `genlab eval`, the `evaluator` and the `split` among them, and the result's
    `name`."""

    evaluator: str
    split: str
    name: str
    options: list[str]

    def stems(self) -> tuple[str, str]:
        """How a row refers to the result; the second if the evaluator reads no data."""
        return f"{self.name}-{self.split}", self.name


def run_path(folder: Path, name: str) -> Path:
    """The run folder of `name` below `folder`: of NAME/0, a run of a sweep over seeds, NAME/0-seed=0."""
    sweep, _, seed = name.rpartition("/")
    if not sweep or (folder / name).is_dir():  # sweeps of earlier versions number their folders
        return folder / name
    return folder / sweep / f"{seed}-seed={seed}"


class Run(Strict):
    """A training run, or one for each of the seeds 0, 1, ..., a sweep; they are called NAME/0, NAME/1, ...

    `minutes` of one core take all of them together, measured or estimated by `dry_run=true`. `evals` are the options of
    `genlab eval` for each.
    """

    overrides: Words
    minutes: Annotated[float, Gt(0)]
    seeds: Annotated[int, Ge(1), Le(1000)] = 1
    evals: list[list[Option]] = []
    after: str | None = None  # the run of the same file that must be there before

    def names(self, name: str) -> list[str]:
        """The names of its runs."""
        return [name] if self.seeds == 1 else [f"{name}/{seed}" for seed in range(self.seeds)]

    def _overrides(self, folder: Path) -> list[str]:
        return [word.replace(RUNS, str(folder)) for word in self.overrides]

    def overrides_of(self, folder_name: str, folder: Path) -> list[str]:
        """The overrides of one of its run folders below `folder`."""
        words = self._overrides(folder)
        return words if self.seeds == 1 else [*words, f"seed={folder_name.rpartition('/')[2]}"]

    def train_words(self, name: str, folder: Path) -> list[str]:
        """`train ...` below `folder`."""
        words = self._overrides(folder)
        if self.seeds == 1:
            return ["train", *words, f"hydra.run.dir={folder / name}"]
        seeds = ",".join(map(str, range(self.seeds)))
        return ["train", "-m", *words, f"seed={seeds}", f"hydra.sweep.dir={folder / name}"]

    def evaluations(self) -> list[Evaluation]:
        """Its measurements, one for each evaluator of `evals`. ValueError if an option cannot be right."""
        return [each for options in self.evals for each in _evaluations(options)]


def _evaluations(options: list[str]) -> Iterator[Evaluation]:
    values = dict(option.split("=", 1) for option in options)
    evaluators = [each.strip() for each in values.get("evaluator", "objective").strip("[] ").split(",")]
    if len(evaluators) > 1 and "name" in values:
        raise ValueError(f"one name for the results of {len(evaluators)} evaluators: {values['name']}")
    wrong = next((key for key in ("seed", "repeats") if not values.get(key, "0").isdecimal()), None)
    if wrong:
        raise ValueError(f"{wrong}={values[wrong][:60]} is not a number")
    for evaluator in evaluators:
        others = [f"evaluator.{each}." for each in evaluators if each != evaluator]
        own = [option for option in options if not option.startswith(("evaluator=", "name=", *others))]
        name = values.get("name", evaluator)
        chosen = [f"evaluator={evaluator}"] if "evaluator" in values else []
        yield Evaluation(evaluator, values.get("split", "test"), name, [*chosen, *own, f"name={name}"])


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
    digits: Annotated[int, Ge(0), Le(12)] = 2
    statistic: Literal["mean", "median", "least"] = "mean"
    tolerance: Annotated[float, Gt(0)] = 0.05

    @model_validator(mode="after")
    def _training_has_no_protocol(self) -> Row:
        if self.protocol and self.evaluator == TRAINING:
            raise ValueError("the metrics of training have no protocol")
        return self


class Curve(Strict):
    """Learning curves of runs: a validation metric of metrics.jsonl."""

    runs: Words
    metric: str
    points: Annotated[int, Gt(1)] = 8  # shown per run, evenly spaced, the last one included; fewer if the run has fewer


class Claims(Strict):
    """One file."""

    title: str
    runs: Annotated[dict[RunName, Run], Field(min_length=1)]
    rows: Annotated[list[Row], MinLen(1)]
    curves: list[Curve] = []
    notes: str = ""
    images: list[Annotated[str, StringConstraints(pattern=r"^docs/")]] = []  # paths in the repository

    @model_validator(mode="after")
    def _check_references(self) -> Claims:
        """Every run that is named exists, none comes after itself, and every row is measured in all of its runs."""
        lists = [*(row.runs for row in self.rows), *(curve.runs for curve in self.curves)]
        named = [name for names in lists for name in names]
        named += [run.after for run in self.runs.values() if run.after]
        unknown = next((name for name in named if name not in self.runs), None)
        if unknown is not None:
            raise ValueError(f"unknown run '{unknown}': {nearest(unknown, self.runs)}")
        for name in self.runs:
            self._chain(name)
        for name, run in self.runs.items():
            results = [each.name + each.split for each in run.evaluations()]
            if len(set(results)) < len(results):
                raise ValueError(f"run '{name}' has two results of one name and split: give a name=...")
        for row in self.rows:
            for name in row.runs if row.evaluator != TRAINING else ():
                self.evaluation(name, row)
        return self

    def _chain(self, name: str) -> list[str]:
        """The run `name` behind those that must be there before. ValueError if it is one of these itself."""
        chain = [name]
        while (before := self.runs[chain[0]].after) is not None:
            if before in chain:
                raise ValueError(f"run '{name}' comes after itself")
            chain.insert(0, before)
        return chain

    def in_order(self, names: Iterable[str]) -> dict[str, Run]:
        """These runs and those that must be there before, which come first."""
        return {each: self.runs[each] for name in names for each in self._chain(name)}

    def evaluation(self, name: str, row: Row) -> Evaluation:
        """The measurement of the run `name` that a row shows. ValueError if the run has none of this name."""
        known = self.runs[name].evaluations()
        found = next((each for each in known if row.evaluator in each.stems()), None)
        if found is None:
            names = [TRAINING, *(each.stems()[0] for each in known)]
            raise ValueError(f"run '{name}' has no result '{row.evaluator}': {nearest(row.evaluator, names)}")
        return found

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
        used = [name for name in self.runs if any(name in row.runs for row in rows)]
        curves = [curve for curve in self.curves if set(used).issuperset(curve.runs)]
        return self.model_copy(update={"rows": rows, "runs": self.in_order(used), "curves": curves})


def load(folder: Path = FOLDER) -> dict[str, Claims]:
    """Every file by name. ConfigError if there is none, or one is wrong."""
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise ConfigError(f"no claims in '{folder}'", "genlab reproduce", "name a folder of YAML files")
    return {path.stem: _read(path) for path in files}


def _read(path: Path) -> Claims:
    try:
        return Claims.model_validate(parse_config(read_bounded(path, LIMIT)))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        reason = ": ".join(filter(None, (field, first["msg"])))
    except (OSError, ValueError) as error:
        reason = str(error)
    raise ConfigError(f"the claims cannot be used ({reason[:300]})", f"file {path}", "correct them")


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
        elif wanted:
            alone = ", ".join(sorted(wanted))
            raise ConfigError(f"no figure rests on {alone} alone", "genlab reproduce", f"choose its section, {file}")
    return found


def cheap(claims: Mapping[str, Claims], minutes: float = BUDGET) -> dict[str, Claims]:
    """The cheapest runs, with those before them as many as fit into `minutes` of one core, and the rows that rest on
    them alone."""
    needed = {(file, name): part.in_order([name]) for file, part in claims.items() for name in part.runs}
    cost = {key: sum(run.minutes for run in runs.values()) for key, runs in needed.items()}
    taken: dict[str, dict[str, Run]] = {file: {} for file in claims}
    for file, name in sorted(needed, key=lambda key: (cost[key], *key)):
        new = {each: run for each, run in needed[file, name].items() if each not in taken[file]}
        minutes -= sum(run.minutes for run in new.values())
        if minutes < 0:
            break
        taken[file] |= new
    parts = {file: part.only(set(taken[file])) for file, part in claims.items()}
    return {file: part for file, part in parts.items() if part}
