"""genlab anomaly: anomaly scores of images, and which of them a trained model calls anomalies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Gt, Lt
from pydantic import Field

from genlab.cli.images import user_images
from genlab.cli.images.image_command import (
    Columns,
    GridKeys,
    ImageCommand,
    OwnImages,
    Save,
    Seed,
    Target,
    class_names,
    grid,
    user_target,
    write,
)
from genlab.errors import ConfigError
from genlab.registry import AnomalyRule, Count
from genlab.utils.tables import csv_text, show
from genlab.utils.terminal import echo

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from genlab.workflows.build import LoadedRun

EXAMPLES = """\
  genlab anomaly last                          test images, class by class
  genlab anomaly last image=scans quantile=0.99 csv=scores.csv
"""


QUANTILE = "of validation scores, above which an image is an anomaly"


@dataclass(frozen=True)
class Keys(GridKeys):
    image: OwnImages = None
    score: Annotated[AnomalyRule, Field(description="auto: the model's own score, else reconstruction error")] = "auto"
    quantile: Annotated[float, Gt(0), Lt(1), Field(description=QUANTILE)] = 0.95
    n: Annotated[Count, Field(description="images shown, strangest first")] = 32
    columns: Columns = 8
    seed: Seed = 0
    csv: Annotated[str | None, Field(description="a file with a line for each image: score, class, anomaly or not")] = (
        None
    )


def anomaly(loaded: LoadedRun, keys: Keys) -> Save:
    """Prints a score per file, or anomalies per class of the test split; a grid shows the most anomalous images, those
    above the threshold in a frame."""
    import torch

    from genlab.evaluation.anomaly import calibrate, scores
    from genlab.reports.captions import Labels

    _check(loaded)
    table = user_target(keys.csv, "csv", (".csv",)) if keys.csv else None
    files = user_images.files_at(keys.image) if keys.image else []
    data = loaded.data()
    limit = calibrate(scores(loaded.model, data.split("valid"), keys.score), keys.quantile)
    if files:
        images = user_images.read(files, data.shape)
        score = _own_scores(loaded, images, keys.score)
        order = score.argsort(descending=True, stable=True)[: keys.n]
        _show_files([files[i] for i in order.tolist()], score[order], limit.value)
        images, names = images[order], [file.name for file in files]
        rows = [{"image": str(file)} for file in files]
    else:
        test = data.split("test")
        score = scores(loaded.model, test, keys.score)
        classes = test.classes()
        _show_classes(score, classes, data.label_names or [], limit.value)
        order = score.argsort(descending=True, stable=True)[: keys.n]
        (images,) = test.table.read(test.indices[order.to(test.indices.device)], ("image",))
        known = class_names(loaded)
        names = ["" for _ in score] if classes is None else [known[label] for label in classes.tolist()]
        rows = [{"image": str(i), **({"class": name} if name else {})} for i, name in enumerate(names)]
    echo(str(limit))
    below = [f"{names[i]} {float(score[i]):.3g}".strip() for i in order.tolist()]
    marked = torch.nonzero(score[order] > limit.value).flatten().tolist()
    caption = f"most anomalous first; framed: above {limit.value:.3g}"
    columns = min(keys.columns, len(images))
    save = grid(images, keys, columns, gap=6, labels=Labels(caption, below=below, marked=marked))

    def save_both(target: Target) -> None:
        if table:
            write(table, csv_text(_records(rows, score, limit.value)).encode())
        save(target)

    return save_both


def _records(rows: list[dict[str, str]], score: Tensor, limit: float) -> list[dict[str, Any]]:
    """A flat record for each image: its file, or its number in the test split, and its score."""
    found = zip(rows, score.tolist(), strict=True)
    return [{**row, "score": each, "threshold": limit, "anomaly": int(each > limit)} for row, each in found]


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

    labels = torch.zeros(len(score), dtype=torch.int64) if classes is None else classes
    rows = []
    for label in labels.unique().tolist():
        own = score[labels == label]
        above = int((own > limit).sum())
        rows.append(
            [names[label] if classes is not None else "all", str(len(own)), str(above), f"{above / len(own):.1%}"]
        )
    show(["class", "test images", "anomalies", "fraction"], rows)


COMMAND = ImageCommand(
    "anomaly", "Score images; those above a quantile of the validation images' scores are anomalies.", EXAMPLES, Keys,
    anomaly, "anomalies",
)  # fmt: skip
