"""genlab anomaly: anomaly scores of images, and which of them a trained model calls anomalies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt, Lt
from pydantic import Field

from genlab.cli.images import user_images
from genlab.cli.images.image_command import Columns, ImageCommand, OwnImages, PNGFile, Save, Seed, grid
from genlab.errors import ConfigError
from genlab.registry import AnomalyRule, Count
from genlab.utils.tables import show
from genlab.utils.terminal import echo

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from genlab.workflows.build import LoadedRun

EXAMPLES = """\
  genlab anomaly last                          test images, class by class
  genlab anomaly last image=scans quantile=0.99
"""


QUANTILE = "of validation scores, above which an image is an anomaly"


@dataclass(frozen=True)
class Keys:
    image: OwnImages = None
    score: Annotated[AnomalyRule, Field(description="auto: the model's own score, else reconstruction error")] = "auto"
    quantile: Annotated[float, Gt(0), Lt(1), Field(description=QUANTILE)] = 0.95
    n: Annotated[Count, Field(description="images shown, strangest first")] = 32
    columns: Columns = 8
    seed: Seed = 0
    out: PNGFile = None


def anomaly(loaded: LoadedRun, keys: Keys) -> Save:
    """Prints a score per file, or anomalies per class of the test split; a grid shows the most anomalous images."""
    from genlab.evaluation.anomaly import calibrate, scores

    _check(loaded)
    files = user_images.files_at(keys.image) if keys.image else []
    data = loaded.data()
    limit = calibrate(scores(loaded.model, data.split("valid"), keys.score), keys.quantile)
    if files:
        images = user_images.read(files, data.shape)
        score = _own_scores(loaded, images, keys.score)
        order = score.argsort(descending=True, stable=True)[: keys.n]
        _show_files([files[i] for i in order.tolist()], score[order], limit.value)
        images = images[order]
    else:
        test = data.split("test")
        score = scores(loaded.model, test, keys.score)
        _show_classes(score, test.classes(), data.label_names or [], limit.value)
        rows = test.indices[score.argsort(descending=True, stable=True)[: keys.n].to(test.indices.device)]
        (images,) = test.table.read(rows, ("image",))
    echo(str(limit))
    return grid(images, min(keys.columns, len(images)))


def _check(loaded: LoadedRun) -> None:
    from genlab.evaluation.anomaly import can_score

    if can_score(loaded.model):
        return
    conditions = " and ".join(loaded.model.conditions)
    raise ConfigError(
        f"model '{loaded.config['name']}' cannot do this: it "
        + (f"needs the {conditions} of an image" if conditions else "neither scores nor reconstructs images"),
        f"run {loaded.path}",
        "use an autoencoder, a VAE or an RBM",
    )


def _own_scores(loaded: LoadedRun, images: Tensor, rule: AnomalyRule) -> Tensor:
    import torch

    from genlab.evaluation.anomaly import score

    device = loaded.runtime.device
    return torch.cat([score(loaded.model, part.to(device), rule).cpu() for part in images.split(256)])


def _show_files(files: list[Path], score: Tensor, limit: float) -> None:
    found = [(file, float(each)) for file, each in zip(files, score, strict=True)]
    rows = [[str(file), f"{each:.6g}", "anomaly" if each > limit else "normal"] for file, each in found]
    show(["image", "score", ""], rows)


def _show_classes(score: Tensor, classes: Tensor | None, names: list[str], limit: float) -> None:
    import torch

    kinds = torch.zeros(len(score), dtype=torch.int64) if classes is None else classes
    rows = []
    for kind in kinds.unique().tolist():
        own = score[kinds == kind]
        above = int((own > limit).sum())
        rows.append(
            [names[kind] if classes is not None else "all", str(len(own)), str(above), f"{above / len(own):.1%}"]
        )
    show(["class", "test images", "anomalies", "fraction"], rows)


COMMAND = ImageCommand(
    "anomaly", "Score images; those above a quantile of the validation images' scores are anomalies.", EXAMPLES, Keys,
    anomaly, "anomalies",
)  # fmt: skip
