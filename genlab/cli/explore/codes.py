"""The codes that the page shows: a map of them, the directions of its sliders, and random ones."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.model import Encodes, HasPrior
from genlab.data.dataset import Split
from genlab.errors import ConfigError
from genlab.evaluation import latent
from genlab.reports.grid import image_grid

DIRECTIONS = 12  # sliders at most
RANDOM = 256  # codes for the button "Random"
MOST_NUMBERS = 400_000  # of all codes on the map: 1.6 MB
FEWEST = 64  # codes on the map, however long they are
THUMBNAIL = 32  # pixels, at most
BATCH = 250
TSNE_NUMBERS = 50  # principal components that t-SNE sees


@dataclass(frozen=True)
class CodeMap:
    """Codes (n, D) and their images, the positions (n, 3) on the map, and directions (K, D) of the sliders.

    The directions are unit vectors; along each, codes vary by the standard deviation in `spread` (K,).
    """

    codes: Tensor
    images: Tensor
    labels: Tensor | None
    of_data: bool  # whether the images are of the data set; else they are decoded from random codes
    positions: Tensor
    directions: Tensor
    spread: Tensor
    random: Tensor  # (M, D), for the button "Random"

    def json(self) -> dict[str, Any]:
        small = _thumbnails(self.images)
        columns = int((len(small) - 1) ** 0.5) + 1
        return {
            "n": len(self.codes),
            "dim": self.codes.shape[1],
            "ofData": self.of_data,
            "codes": floats(self.codes),
            "positions": floats(self.positions),
            "directions": floats(self.directions),
            "spread": self.spread.tolist(),
            "mean": floats(self.codes.mean(0)),
            "deviation": floats(self.codes.std(0, correction=0)),
            "random": floats(self.random),
            "labels": None if self.labels is None else self.labels.tolist(),
            "thumbnails": sheet(small, columns),
        }


def code_map(model: Any, split: Split | None, n: int, seed: int) -> CodeMap:
    """Of images of `split` if the model encodes, and the split is there; else of random codes.

    Encoded images are placed by the principal components of their codes. Random codes have none that mean anything:
    they are placed by the components of their images, and a slider's direction is the one whose component of codes
    correlates with such a component of images.
    """
    rng.seed(seed)
    prior = model.prior(RANDOM).float().cpu() if isinstance(model, HasPrior) else None
    if split is not None and isinstance(model, Encodes):
        return _encoded(model, split, n, prior)
    if prior is None:
        what = "the codes of this model are those of images, which are not there"
        raise ConfigError(what, "the data set", "restore it")
    return _decoded(model, n, prior)


def _encoded(model: Any, split: Split, n: int, prior: Tensor | None) -> CodeMap:
    dim = latent.codes(model, split.drawn(2)).shape[1]
    drawn = split.drawn(_count(n, dim))
    codes = latent.codes(model, drawn)
    [images] = drawn.take(len(drawn), ("image",))
    positions, directions, spread = principal(codes)
    random = codes[torch.randperm(len(codes))[:RANDOM]] if prior is None else prior
    return CodeMap(codes, images.float().cpu(), drawn.classes(), True, _three(positions), directions, spread, random)


def _decoded(model: Any, n: int, prior: Tensor) -> CodeMap:
    codes = model.prior(_count(n, prior.shape[1])).float()
    images = torch.cat([model.decode(part).float().cpu() for part in codes.split(BATCH)])
    codes = codes.cpu()
    positions, _, _ = principal(images.flatten(1))
    directions = torch.nn.functional.normalize((codes - codes.mean(0)).T @ positions, dim=0).T
    spread = ((codes - codes.mean(0)) @ directions.T).std(0, correction=0)
    return CodeMap(codes, images, None, False, _three(positions), directions, spread, prior)


def principal(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (n, D) in their principal components (n, K), the components (K, D), the deviation along each (K,)."""
    centered = x - x.mean(0)
    u, s, v = torch.pca_lowrank(centered, q=min(DIRECTIONS, *x.shape), center=False, niter=4)
    return u * s, v.T, s / len(x) ** 0.5


def tsne(codes: Tensor, seed: int) -> Tensor:
    """t-SNE of codes (n, D) in the plane: (n, 2)."""
    from sklearn.manifold import TSNE

    if codes.shape[1] > TSNE_NUMBERS:
        centered = codes - codes.mean(0)
        codes = centered @ torch.pca_lowrank(centered, q=min(TSNE_NUMBERS, len(codes)), center=False)[2]
    perplexity = min(30.0, (len(codes) - 1) / 3)
    method = TSNE(2, perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed)
    return torch.from_numpy(method.fit_transform(codes.numpy())).float()


def floats(values: Tensor) -> str:
    """Float32 numbers, little-endian, in base64: a third of the length of JSON, and exact."""
    return base64.b64encode(values.contiguous().float().cpu().numpy().astype("<f4").tobytes()).decode()


def sheet(images: Tensor, columns: int | None = None) -> dict[str, Any]:
    """Images (N, C, H, W) in [0, 1] as one PNG without gaps, row by row."""
    columns = min(columns or len(images), len(images))
    png = image_grid(images, columns, gap=0, side=1).png
    return {"png": base64.b64encode(png).decode(), "n": len(images), "columns": columns,
            "height": images.shape[2], "width": images.shape[3]}  # fmt: skip


def _thumbnails(images: Tensor) -> Tensor:
    height, width = images.shape[2:]
    if max(height, width) <= THUMBNAIL:
        return images
    scale = THUMBNAIL / max(height, width)
    size = [max(1, round(side * scale)) for side in (height, width)]
    return torch.nn.functional.interpolate(images, size, mode="bilinear", antialias=True).clamp(0, 1)


def _count(n: int, dim: int) -> int:
    return min(n, max(FEWEST, MOST_NUMBERS // dim))


def _three(positions: Tensor) -> Tensor:
    """The first three components; zeros for those that are not there."""
    return torch.nn.functional.pad(positions[:, :3], (0, max(0, 3 - positions.shape[1])))
