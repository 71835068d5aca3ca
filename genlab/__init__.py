"""genlab: a command-line lab for unsupervised and generative image models.

`genlab.train(overrides)` is the same run as `genlab train ...`; `genlab.load(run)` gives a trained model back.
Importing this package loads neither torch nor torchvision.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genlab.core.model import Model
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


def load(run: str | Path = "last") -> Model:
    """The trained model of a run folder (or of the `last` run), in evaluation mode, with its capabilities."""
    from genlab.workflows.build import load as load_run

    return load_run(run).model
