"""genlab: a command-line lab for unsupervised and generative image models.

`genlab.train(overrides)` is the same run as `genlab train ...`; `genlab.load(run)` gives a trained model back;
`train_sweep`, `find_runs`, `evaluate` and `compare` are `genlab train -m`, `runs`, `eval` and `compare`.
Importing this package loads neither torch nor torchvision.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genlab.core.model import Model
    from genlab.workflows.compare.comparison import Comparison
    from genlab.workflows.session import Result

__version__ = "0.1.0"

# torch reads this when it is imported: operations that an Apple GPU lacks run on the CPU instead of failing
os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")


def train(overrides: Sequence[str] = (), dataset: Any = None) -> Result:
    """Run what `genlab train OVERRIDES` runs, in this process.

    `dataset` takes the place of `dataset=NAME`: a NumPy array of images (N, H, W), (N, H, W, C) or (N, C, H, W), uint8
    or floats in [0, 1], or of points (N, D); a tuple (images, labels); or any `torch.utils.data.Dataset` with a length.
    Raises `genlab.errors.GenlabError`, whose `code` is the exit code that the command would give.
    """
    from genlab.workflows.train import train as run

    if dataset is not None:
        from genlab.data.adapt import pass_samples

        overrides = pass_samples(dataset, overrides)
    return run(list(overrides))


def train_sweep(overrides: Sequence[str], jobs: int = 1) -> list[dict[str, Any]]:
    """Run what `genlab train -m OVERRIDES` runs; the flat record of each run, as of `find_runs`.

    `jobs` run at a time, each in its own process. SweepError if some failed; the others have ended.
    """
    from genlab.runs.records import find
    from genlab.sweep.plan import plan
    from genlab.sweep.runner import run_all

    folder = run_all(plan(list(overrides)), jobs)
    return [record["flat"] for record in find(folder, {})]


def find_runs(*filters: str, root: str | Path = "outputs", sort: str = "") -> list[dict[str, Any]]:
    """The runs below `root` as flat records for `pandas.DataFrame`: path, model, dataset, status, last metrics, results
    of evaluations, and every key of the configuration.

    `filters` and `sort` as of `genlab runs`: `find_runs("model=dcgan", "seed=0", sort="-valid/elbo")`. ConfigError for
    a key that no run has.
    """
    from genlab.errors import ConfigError
    from genlab.runs.records import find

    chosen = dict(word.partition("=")[::2] for word in filters)
    if not all("=" in word for word in filters):
        raise ConfigError(f"{filters} are not all filters", "genlab.find_runs", "write 'key=value'")
    return [record["flat"] for record in find(Path(root), chosen, sort, "genlab.find_runs")]


def evaluate(run: str | Path = "last", evaluator: str = "objective", **options: Any) -> dict[str, Any]:
    """Run what `genlab eval RUN evaluator=EVALUATOR` runs; `metrics`, `protocol` and `diagnoses`, as its file has them.

    `options` are `split`, `seed`, `repeats` and `name`, or keys of the evaluator: `evaluate(run, "fid", images=2000)`.
    """
    import json

    from genlab.cli import evaluate as command

    own = ("split", "seed", "repeats", "name")
    words = [f"{key}={value}" if key in own else f"evaluator.{evaluator}.{key}={json.dumps(value)}"
             for key, value in options.items()]  # fmt: skip
    (found,) = command.evaluate(command.parser().parse([str(run), f"evaluator={evaluator}", *words]))
    return found


def compare(*runs: str | Path, metric: Sequence[str] = (), alpha: float = 0.05) -> Comparison:
    """Compare runs, sweeps and patterns, as `genlab compare` does, without writing anything.

    `print` shows the result; `.records()` is a flat record for each run and metric, `.pairs` has the verdicts. `metric`
    chooses metrics by name (patterns); `alpha` is the probability of calling any of them different by chance.
    """
    from genlab.workflows.compare.comparison import compare as compare_runs

    return compare_runs(runs, metric, alpha)


def load(run: str | Path = "last") -> Model:
    """The trained model of a run folder (or of the `last` run), in evaluation mode, with its capabilities."""
    from genlab.workflows.build import load as load_run

    return load_run(run).model
