"""genlab anomaly: how strange images are to a trained model, and which are called anomalies."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt, Lt

from genlab.cli.images import drawing, user_images
from genlab.cli.options import Parser, keywords
from genlab.errors import ConfigError
from genlab.evaluation.anomaly import Rule
from genlab.registry import Count, NonNegativeInt
from genlab.utils.tables import show

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from genlab.workflows.build import LoadedRun

KEYS = drawing.keys_text(
    image="a picture of your own, or a folder of them (the test split)", score="auto or reconstruction",
    quantile="of training scores, above which an image is an anomaly (0.95)", n="images shown, strangest first (32)",
    columns="per row (8)", seed="of the noise, if any (0)", out="PNG file",
)  # fmt: skip
EXAMPLES = """\
  genlab anomaly last                          test images, class by class
  genlab anomaly last image=scans quantile=0.99
"""


@dataclass(frozen=True)
class Keys:
    """What may be given as key=value."""

    image: str | None = None
    score: Rule = "auto"
    quantile: Annotated[float, Gt(0), Lt(1)] = 0.95
    n: Count = 32
    columns: Count = 8
    seed: NonNegativeInt = 0
    out: str | None = None


def parser() -> Parser:
    about = "Score images; those above a quantile of the training images' scores are anomalies."
    return drawing.picture_parser("anomaly", about, KEYS, EXAMPLES)


def run(options: argparse.Namespace) -> int:
    keys = Keys(**keywords(Keys, options.options))
    files = user_images.files_at(keys.image) if keys.image else []
    anomaly(drawing.open_run(options), keys, files)
    return 0


def anomaly(loaded: LoadedRun, keys: Keys, files: list[Path]) -> None:
    """A table of scores by picture, or of anomalies by class, and the strangest images as a PNG."""
    import torch

    from genlab.core import rng
    from genlab.evaluation.anomaly import normal_threshold, scores
    from genlab.reports.grid import image_grid

    path = drawing.destination(keys.out, loaded, drawing.named("anomalies", keys))
    _check(loaded)
    data = loaded.data()
    rng.seed(keys.seed)
    with torch.no_grad():
        limit = normal_threshold(loaded.model, data.split("train"), keys.quantile, keys.score)
        if files:
            images = user_images.read(files, data.shape)
            score = _own_scores(loaded, images, keys.score)
            order = score.argsort(descending=True, stable=True)[: keys.n]
            _show_files([files[i] for i in order.tolist()], score[order], limit)
            images = images[order]
        else:
            test = data.split("test")
            score = scores(loaded.model, test, keys.score)
            _show_classes(score, test.classes(), data.label_names or [], limit)
            rows = test.rows[score.argsort(descending=True, stable=True)[: keys.n].to(test.rows.device)]
            (images,) = test.table.read(rows, ("image",))
    print(f"threshold {limit:.6g}: the {keys.quantile:g} quantile of training scores")
    drawing.save(path, image_grid(images, min(keys.columns, len(images))))


def _check(loaded: LoadedRun) -> None:
    from genlab.evaluation.anomaly import can_score

    if can_score(loaded.model):
        return
    given = " and ".join(loaded.model.conditions)
    raise ConfigError(
        f"model '{loaded.config['name']}' cannot do this: it "
        + (f"judges an image by its {given} too" if given else "neither scores nor reconstructs images"),
        f"run {loaded.path}",
        "use an autoencoder, a VAE or an RBM",
    )


def _own_scores(loaded: LoadedRun, images: Tensor, rule: Rule) -> Tensor:
    import torch

    from genlab.evaluation.anomaly import score

    device = loaded.runtime.device
    return torch.cat([score(loaded.model, part.to(device), rule).cpu() for part in images.split(256)])


def _show_files(files: list[Path], score: Tensor, limit: float) -> None:
    found = [(file, float(each)) for file, each in zip(files, score, strict=True)]
    rows = [[str(file), f"{each:.6g}", "anomaly" if each > limit else "normal"] for file, each in found]
    show(["picture", "score", ""], rows)


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
    show(["class", "test images", "anomalies", "share"], rows)
