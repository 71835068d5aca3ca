"""Any folder of images, with subfolders as labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from genlab.data.dataset import Files, Form, OnError, Source, StoredDataset
from genlab.data.store.image import SUFFIXES
from genlab.errors import ConfigError, DataError
from genlab.registry import DATASETS, PositiveInt
from genlab.utils.paths import user_path

PARTS = {"train": ("train",), "valid": ("valid", "val", "validation"), "test": ("test",)}


@DATASETS("folder")
@dataclass(kw_only=True)
class Folder(StoredDataset):
    """All images below `root`, center-cropped to their shorter side.

    If `root` has a folder `train`, its folders `train`, `valid` (or `val`) and `test` are the splits; missing splits
    are drawn from train by `split_seed`. Below that, subfolders are labels; without subfolders there are no labels.
    """

    name = "folder"

    size: PositiveInt = 64
    channels: Literal[1, 3] = 3
    on_error: OnError | None = "error"

    def files(self) -> list[Path]:
        return [root_folder(self)]

    def read(self) -> Source:
        [root] = self.files()
        parts = split_images(root)
        names = [name for part in parts.values() for name in part]
        labels = _labels(root, names, depth=1 if _is_split(root) else 0)
        classes = sorted(set(labels or ()))
        return Source(
            {part: len(part_names) for part, part_names in parts.items()},
            Files(root, names),
            np.searchsorted(classes, labels).astype(np.int64) if labels else None,
            classes or None,
            Form(self.size, self.channels),
        )


def root_folder(dataset: StoredDataset) -> Path:
    """The folder that the key `root` names; ConfigError without one, DataError if it does not exist."""
    key = dataset.key("root")
    if dataset.root is None:
        raise ConfigError(f"data set '{dataset.name}' needs a folder", f"key {key}", f"add {key}=PATH")
    root = user_path(dataset.root, f"key {key}").absolute()
    if not root.is_dir():
        raise DataError(f"{root} is not a folder", f"key {key}", "give the folder of images")
    return root


def split_images(root: Path) -> dict[str, list[str]]:
    """The images of each split, their paths relative to `root`; DataError if there are none."""
    found = {
        part: [name for folder in _split_folders(root, part) for name in images_below(root, folder)] for part in PARTS
    }
    if not any(found.values()):
        raise DataError(f"{root} holds no images", f"they end in {' '.join(SUFFIXES)}", "give another folder")
    return found


def _is_split(root: Path) -> bool:
    return (root / "train").is_dir()


def _split_folders(root: Path, part: str) -> list[Path]:
    """The folders of a split; without folders for splits, the root is the folder of train."""
    if not _is_split(root):
        return [root] if part == "train" else []
    return [root / name for name in PARTS[part] if (root / name).is_dir()]


def images_below(root: Path, folder: Path) -> list[str]:
    """Paths relative to root, sorted, without hidden files and folders; links to folders are not followed."""
    names = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = os.path.relpath(parent, root)
        names += [
            os.path.normpath(os.path.join(inside, name))
            for name in files
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
    return sorted(names)


def _labels(root: Path, names: Sequence[str], depth: int) -> list[str] | None:
    """The subfolder of each image, or None if no image is in a subfolder."""
    below = [name.split(os.sep)[depth:] for name in names]
    bare = [name for name, path in zip(names, below, strict=True) if len(path) == 1]
    if len(bare) == len(names):
        return None
    if bare:
        raise DataError(
            f"{root} holds images in subfolders and others beside them, such as {bare[0]}",
            "subfolders are labels",
            "move all images into subfolders, or none",
        )
    return [path[0] for path in below]
