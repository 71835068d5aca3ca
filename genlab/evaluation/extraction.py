"""Features of images: the choice of an extractor, and the features of many images, cached for data.

An extractor is a module in EXTRACTORS: images (N, C, H, W) in [0, 1] to features (N, D), float32. Its attributes are
`name`, `resize` (how it resizes) and `digest` (the sha256 of its weights, empty without weights).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Protocol

import torch
from pydantic import AfterValidator
from torch import Tensor

from genlab.core.data_spec import GENERATED
from genlab.data.dataset import Split
from genlab.errors import ConfigError, DataError, nearest
from genlab.registry import EXTRACTORS
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

    def __call__(self, images: Tensor) -> Tensor: ...

    def to(self, device: torch.device) -> Any: ...


def choose_extractor(name: str, split: Split, key: str) -> Extractor:
    """The extractor `name`, on the CPU; `auto`: the data set's classifier, else Inception if its weights exist.

    `key` is what the user sets to choose it (evaluator.fid.extractor), for messages.
    """
    return built(_automatic(split.table.name.removeprefix(GENERATED), key) if name == AUTO else name)


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

    classifier = shipped(dataset)
    if classifier:
        return classifier
    if weights_file() is None:
        raise ConfigError(
            f"genlab has no extractor for data set '{dataset}', and Inception's weights are missing",
            f"key {key}",
            f"put them at {expected_path()}, or use {key}=pixels",
        )
    return "inception"


@torch.no_grad()
def features(extractor: Extractor, batches: Iterable[Tensor]) -> Tensor:
    """The features (N, D) of batches of images in [0, 1], float32, on the host."""
    found = []
    for images in batches:
        extractor.to(images.device)
        found.append(extractor(images).float().cpu())
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
