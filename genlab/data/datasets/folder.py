"""A folder of pictures of one's own, with sub-folders as labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np

from genlab.data.dataset import Dataset, Options
from genlab.data.labels import Classes
from genlab.data.splits import Held
from genlab.data.store.encoded import Files
from genlab.data.store.image import Form
from genlab.data.store.store import Source
from genlab.errors import ConfigError, DataError
from genlab.registry import DATASETS, PositiveInt

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
PARTS = {"train": ("train",), "valid": ("valid", "val", "validation"), "test": ("test",)}


@DATASETS("folder")
class Folder(Dataset):
    """All pictures below `root`, centre-cropped to their shorter side.

    Where `root` has a folder `train`, its folders `train`, `valid` (or `val`) and `test` are the splits; splits that
    are not there are drawn from train by seed. Below that, sub-folders are labels; without any there are none.
    """

    name = "folder"

    def __init__(
        self,
        root: str | None = None,
        size: PositiveInt = 64,
        channels: Literal[1, 3] = 3,
        valid: Held = 0.1,
        test: Held = 0.1,
        flip: bool = False,
        limit: PositiveInt | None = None,
        num_labels: PositiveInt | None = None,
        classes: Classes | None = None,
        on_error: Literal["error", "skip"] = "error",
        seed: int = 0,
    ) -> None:
        self.on_error = on_error
        self.form = Form(size, channels)
        facts = {"on_error": on_error, **asdict(self.form)}
        super().__init__(
            Options(root, size, {"valid": valid, "test": test}, flip, limit, seed, facts, num_labels, classes)
        )

    def files(self) -> list[Path]:
        if self.options.root is None:
            raise ConfigError(
                f"the data set '{self.name}' needs a folder", f"key {self.key('root')}", f"add {self.key('root')}=PATH"
            )
        root = Path(self.options.root).expanduser().absolute()
        if not root.is_dir():
            raise DataError(
                f"{root} is no folder", f"key {self.key('root')}", "give the folder that holds the pictures"
            )
        return [root]

    def read(self) -> Source:
        [root] = self.files()
        found = {
            part: [name for folder in split_folders(root, part) for name in pictures_below(root, folder)]
            for part in PARTS
        }
        names = [name for part in found.values() for name in part]
        if not names:
            raise DataError(f"{root} holds no pictures", f"they end in {' '.join(SUFFIXES)}", "give another folder")
        labels = _labels(root, names, depth=1 if _is_split(root) else 0)
        classes = sorted(set(labels or ()))
        return Source(
            {part: len(part_names) for part, part_names in found.items()},
            Files(root, names),
            np.searchsorted(classes, labels).astype(np.int64) if labels else None,
            classes or None,
            self.form,
            self.on_error == "skip",
            self.key("on_error"),
        )


def _is_split(root: Path) -> bool:
    return (root / "train").is_dir()


def split_folders(root: Path, part: str) -> list[Path]:
    """The folders of a split: those of its name, or, where there are no splits, the root as train."""
    if not _is_split(root):
        return [root] if part == "train" else []
    return [root / name for name in PARTS[part] if (root / name).is_dir()]


def pictures_below(root: Path, folder: Path) -> list[str]:
    """Paths relative to root, sorted; hidden files and folders are left out, links to folders not followed."""
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
    """The sub-folder of each picture, or None if none lies in one."""
    below = [name.split(os.sep)[depth:] for name in names]
    bare = [name for name, path in zip(names, below, strict=True) if len(path) == 1]
    if len(bare) == len(names):
        return None
    if bare:
        raise DataError(
            f"{root} holds pictures in sub-folders and others beside them, such as {bare[0]}",
            "sub-folders are labels",
            "put every picture into one, or none",
        )
    return [path[0] for path in below]
