"""Features of images: the choice of an extractor, and the features of many images, cached for data.

An extractor is a module in EXTRACTORS: images (N, C, H, W) in [0, 1] to features (N, D), float32. Its attributes are
`name`, `resize` (how it resizes), `digest` (the sha256 of its weights, empty without weights) and `channels` (of the
images it takes; None: any number, also points).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Protocol

import torch
from pydantic import AfterValidator
from torch import Tensor
from torch.nn.functional import interpolate

from genlab.core.data_spec import GENERATED
from genlab.data.dataset import Split
from genlab.errors import ConfigError, DataError, nearest
from genlab.registry import EXTRACTORS
from genlab.reports.grid import are_images
from genlab.utils.own_folder import OwnFolder
from genlab.utils.paths import cache_folder

AUTO = "auto"
BATCH = 250  # images at once


def _known(name: str) -> str:
    if name != AUTO and name not in EXTRACTORS:
        raise ValueError(nearest(name, [AUTO, *EXTRACTORS.names()]))
    return name


ExtractorName = Annotated[str, AfterValidator(_known)]


class Extractor(Protocol):
    name: str
    resize: str
    digest: str
    channels: tuple[int, ...] | None

    def __call__(self, images: Tensor) -> Tensor: ...

    def to(self, device: torch.device) -> Any: ...


def choose_extractor(name: str, split: Split, key: str) -> Extractor:
    """The extractor `name`, on the CPU; `auto`: the data set's classifier, else Inception or EfficientNet-Lite0.

    `key` is what the user sets to choose it (evaluator.fid.extractor), for messages. ConfigError if the extractor does
    not take the images of `split`.
    """
    extractor = built(_automatic(split.table.name.removeprefix(GENERATED), key) if name == AUTO else name)
    if split.points and extractor.channels:
        problem = f"extractor '{extractor.name}' takes images, these are points"
        raise ConfigError(problem, f"key {key}", f"use {key}=pixels")
    check_channels(extractor.name, extractor.channels, split.table.columns["image"].shape[1], key)
    return extractor


@functools.cache
def built(name: str) -> Extractor:
    """The extractor `name`, on the CPU; the same object each time."""
    found: Extractor = EXTRACTORS.build({"name": name}, "extractor")
    return found


def shipped(dataset: str) -> str | None:
    """The name of the classifier shipped for this data set, if there is one."""
    dataset = dataset.removeprefix(GENERATED)
    return dataset if dataset in ("mnist", "fashion_mnist") else None


def _automatic(dataset: str, key: str) -> str:
    from genlab.evaluation.extractors.inception import expected_path, weights_file
    from genlab.nn.pretrained.efficientnet_lite0 import WEIGHTS

    classifier = shipped(dataset)
    if classifier:
        return classifier
    if weights_file() is not None:
        return "inception"
    if WEIGHTS.available():
        return "efficientnet_lite0"
    raise ConfigError(
        f"no extractor for data set '{dataset}' is installed",
        f"key {key}",
        f"{WEIGHTS.install}, put Inception's weights at {expected_path()}, or use {key}=pixels",
    )


def check_channels(name: str, takes: tuple[int, ...] | None, channels: int, key: str | None = None) -> None:
    """ConfigError unless `channels`, of images, are among those that the extractor `name` takes; None: any.

    `key` chooses the extractor; None: it was chosen by the data set.
    """
    if takes and channels not in takes:
        known = "1 channel" if takes == (1,) else f"{' or '.join(map(str, takes))} channels"
        problem = f"extractor '{name}' takes images of {known}, these have {channels}"
        if key is None:
            raise ConfigError(problem, f"the extractor of data set {name}", "use another evaluator")
        raise ConfigError(
            problem,
            f"key {key}",
            f"use {key}=efficientnet_lite0, inception or pixels" if channels == 3 else f"use {key}=pixels",
        )


def in_parts(network: Callable[[Tensor], Tensor], images: Tensor, size: int = 16) -> Tensor:
    """network(images); on a CPU in parts of `size` images, whose activations stay closer to a core's caches."""
    return torch.cat([network(part) for part in images.split(size)]) if images.device.type == "cpu" else network(images)


def resized(images: Tensor, side: int) -> Tensor:
    """Images (N, C, H, W) in [0, 1] as `side` x `side`, antialiased bicubic, in [0, 1]."""
    if images.shape[2:] == (side, side):
        return images
    return interpolate(images, (side, side), mode="bicubic", antialias=True).clamp(0, 1)


@torch.no_grad()
def features(extractor: Extractor, batches: Iterable[Tensor]) -> Tensor:
    """The features (N, D) of batches of images in [0, 1], float32, on the host; points may have any range.

    Images are rounded to 256 levels first, as in a file: those of a model and of data are measured alike.
    """
    found = []
    for images in batches:
        extractor.to(images.device)
        seen = images.float()
        if are_images(images):
            seen = seen.mul(255).round_().mul_(1 / 255)  # the factor of stored images, to the bit
        found.append(extractor(seen).float().cpu())
    return torch.cat(found)


def features_of(extractor: Extractor, split: Split, column: str = "image") -> Tensor:
    """The features (N, D) of a split's images in order; cached by the bytes of the images and of the weights."""
    if not extractor.digest:  # as fast as reading a file
        return features(extractor, (images for (images,) in split.batches((column,), BATCH)))
    # several columns may be made from the same bytes
    key = hashlib.sha256(f"{extractor.digest} {extractor.resize} {split.table.name} {column}".encode())
    for rows in split.indices.split(BATCH):
        key.update(split.table.gather(rows, None, (column,))[0].cpu().numpy().tobytes())
    path = cache_folder() / "features" / f"{extractor.name}-{len(split)}-{key.hexdigest()[:32]}.safetensors"
    known = _recall(path)
    if known is None:
        known = features(extractor, (images for (images,) in split.batches((column,), BATCH)))
        _remember(path, known)
    return known


def _recall(path: Path) -> Tensor | None:
    from safetensors.torch import load_file

    try:
        return load_file(path)["features"]
    except Exception:  # missing or damaged: computed again
        return None


def _remember(path: Path, found: Tensor) -> None:
    from safetensors.torch import save

    with contextlib.suppress(OSError):  # an unwritable cache does not prevent measuring
        path.parent.mkdir(parents=True, exist_ok=True)
        OwnFolder(path.parent).write(path.name, save({"features": found}))


def file_of(path: Path) -> Path:
    """A file that comes with genlab; DataError if it is not there."""
    if not path.is_file():
        raise DataError(f"{path.name} is missing", str(path.parent), "install genlab again")
    return path
