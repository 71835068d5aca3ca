"""genlab: a command-line lab for unsupervised and generative image models.

`genlab.train(overrides)` is the same run as `genlab train ...`; `genlab.load(run)` gives a trained model back;
`train_sweep`, `find_runs`, `evaluate` and `compare` are `genlab train -m`, `runs`, `eval` and `compare`; `draw` and
`plot` are the commands that make images, which a notebook shows. `load_data` and `image_grid` are for tensors.
Importing this package loads neither torch nor torchvision.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from genlab.cli.images.drawing import Drawing
    from genlab.core.model import Model
    from genlab.core.values import Image
    from genlab.workflows.compare.comparison import Comparison
    from genlab.workflows.session import Result

__version__ = "0.1.0"

# torch reads this when it is imported: operations that an Apple GPU lacks run on the CPU instead of failing
os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")


def train(overrides: Sequence[str] = (), dataset: Any = None) -> Result:
    """Run what `genlab train OVERRIDES` runs, in this process.

    `dataset` takes the place of `dataset=NAME`: a NumPy array of images (N, H, W), (N, H, W, C) or (N, C, H, W), uint8
    or floats in [0, 1], or of points (N, D); a tuple (images, labels); or any `torch.utils.data.Dataset` with a length.
    Plug-ins of the current folder that its user trusts are loaded, as the command does.
    Raises `genlab.errors.GenlabError`, whose `code` is the exit code that the command would give.
    """
    from genlab.config import trusted
    from genlab.workflows.train import train as run

    if dataset is not None:
        from genlab.data.adapt import pass_samples

        overrides = pass_samples(dataset, overrides)
    plugins, config_dirs = trusted.of_current_folder()
    return run(list(overrides), config_dirs, plugins=plugins)


def train_sweep(overrides: Sequence[str], jobs: int = 1) -> list[dict[str, Any]]:
    """Run what `genlab train -m OVERRIDES` runs; the flat record of each run, as of `find_runs`.

    `jobs` run at a time, each in its own process. SweepError if some failed; the others have ended.
    """
    from genlab.config import trusted
    from genlab.runs.records import find
    from genlab.sweep.plan import plan
    from genlab.sweep.runner import run_all

    plugins, config_dirs = trusted.of_current_folder()
    folder = run_all(plan(list(overrides), config_dirs, plugins), jobs)
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
    """Run what `genlab eval RUN evaluator=EVALUATOR` runs; `metrics`, `protocol` and `diagnoses`, as its file has them,
    and `images` by name, which a notebook shows.

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
    """The trained model of a run folder, of the `last` run, or in a file of `genlab export`, in evaluation mode."""
    from genlab.config import trusted
    from genlab.workflows.build import load as load_run

    return load_run(run, plugins=trusted.of_current_folder()[0]).model


def load_data(
    source: str | Path | Sequence[str] = "last", split: str = "test", n: int | None = None
) -> dict[str, Tensor]:
    """A split of a run's data set, or of the one that overrides choose (`["dataset=mnist"]`), as tensors by column.

    `image` is float (N, C, H, W) in [0, 1], or points (N, D, 1, 1) of any range; `label` int64 (N,), if there are
    labels; pairs have the columns `a` and `b`. `n`: only so many, in the split's proportions of classes.
    """
    from genlab.workflows.build import open_data

    found = open_data(source).split(split)
    columns = [name for name in found.table.names if name != "image" or "a" not in found.table.names]
    return dict(zip(columns, (each.cpu() for each in found.take(n or len(found), columns)), strict=True))


def image_grid(
    images: Tensor, columns: int | None = None, *, caption: str = "", rows: Sequence[str] = (),
    above: Sequence[str] = (), below: Sequence[str] = (), scale: int = 1,
) -> Image:  # fmt: skip
    """Images (N, C, H, W) in [0, 1] as one image, in rows of `columns` (None: nearly square); a notebook shows it.

    `rows` are words left of the rows, `above` above the columns, `below` below each image. Small images are enlarged,
    all by another `scale`.
    """
    from genlab.reports.captions import Labels, labeled_grid

    return labeled_grid(images.cpu(), columns, Labels(caption, rows, above, below), scale=scale)


def draw(run: str | Path = "last", command: str = "sample", **keys: Any) -> Drawing:
    """Run what `genlab COMMAND RUN KEY=VALUE` runs, of any command that makes images of a run: sample, reconstruct,
    interpolate, traverse, film, denoise, translate, ... A notebook shows the result; `path` is the file.

    `draw(run, "film", over="training", frames=40)`, `draw(run, "sample", label=7)`.
    """
    from genlab.cli.images import drawing

    return drawing.draw(command, [str(run)], keys)


def plot(*runs: str | Path, **keys: Any) -> Drawing:
    """Run what `genlab plot RUN ... KEY=VALUE` runs: curves of runs, as an image that a notebook shows.

    `plot("outputs/sweeps/losses", metric="valid/elbo", x="epoch")`. ConfigError if matplotlib is missing.
    """
    from genlab.cli.images import drawing

    return drawing.draw("plot", [str(run) for run in runs], keys)
