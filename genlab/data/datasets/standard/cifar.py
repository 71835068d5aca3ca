"""CIFAR-10 and CIFAR-100 (Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009), binary version.

A record is one label byte, in CIFAR-100 a coarse and a fine one, and 3,072 bytes: red, green and blue, row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from genlab.data.dataset import Source, StoredDataset, fixed
from genlab.data.datasets.standard import tar_file
from genlab.data.splits import Held
from genlab.data.store.image import Pixels, resize_all
from genlab.errors import DataError, raise_if_exhausted
from genlab.registry import DATASETS
from genlab.utils.files import read_bounded

SIDE = 32
PIXELS = 3 * SIDE * SIDE
LARGEST = 2**28  # bytes of a file, more than any real one
MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)


@dataclass(kw_only=True)
class _CIFAR(StoredDataset):
    """50,000 training and 10,000 test images of 32x32 color pixels: the archive, or the folder that it unpacks to."""

    home: ClassVar[str]  # the folder below the data folder
    archive: ClassVar[str]
    md5: ClassVar[str]
    inside: ClassVar[str]  # the folder in the archive
    parts: ClassVar[dict[str, tuple[str, ...]]]
    label_bytes: ClassVar[int]

    valid: Held = 5000
    test: int = fixed(0)

    def label_file(self) -> tuple[str, int, int]:
        """The file with the names of the classes, their number, and which label byte counts them."""
        raise NotImplementedError

    def files(self) -> list[Path]:
        known = self.label_file()[0]  # other data have files with names such as train.bin
        try:
            folders = (f"{self.home}/{self.inside}/", f"{self.inside}/", "")
            first = self.find(known, "", *(folder + known for folder in folders))
        except DataError:
            return [self.find_or_fetch(self.archive, self.home, MIRRORS, self.md5)]
        return [self._beside(first, name) for name in self._names()]

    def _names(self) -> list[str]:
        return [*(name for part in self.parts.values() for name in part), self.label_file()[0]]

    def _beside(self, first: Path, name: str) -> Path:
        path = first.with_name(name)
        if not path.is_file():
            raise DataError(f"{path} is missing", f"{first.name} is there", f"unpack all of {self.archive}")
        return path

    def read(self) -> Source:
        held = self._contents()
        names, count, byte = self.label_file()
        classes = held[names].decode("ascii", "replace").split()
        if len(classes) != count:
            raise DataError(f"{names} names {len(classes)} classes", f"there are {count}", "download it again")
        images, labels = [], []
        for part in self.parts.values():
            pixels, numbers = zip(*(self._records(name, held[name], byte, count) for name in part), strict=True)
            images.append(np.concatenate(pixels))
            labels.append(np.concatenate(numbers))
        return Source(
            {part: len(pixels) for part, pixels in zip(self.parts, images, strict=True)},
            resize_all(np.concatenate(images), self.size),
            np.concatenate(labels),
            classes,
        )

    def _contents(self) -> dict[str, bytes]:
        """The content of each file, by its name."""
        files = self.files()
        if files[0].name == self.archive:
            return self._unpacked(files[0])
        return {path.name: _read(path) for path in files}

    def _unpacked(self, archive: Path) -> dict[str, bytes]:
        places = {name: f"{self.inside}/{name}" for name in self._names()}
        try:
            held = tar_file.contents(archive, list(places.values()))
        except Exception as error:  # a damaged archive may make it raise anything
            raise_if_exhausted(error)
            how = f"{type(error).__name__}: {error}"
            raise DataError(f"{archive} is damaged or cannot be read", how, "check it, or download it again") from None
        return {name: held[place] for name, place in places.items()}

    def _records(self, name: str, data: bytes, byte: int, count: int) -> tuple[Pixels, NDArray[np.int64]]:
        """Images uint8 (N, 3, 32, 32) and labels (N,) of a file."""
        record = self.label_bytes + PIXELS
        if not data or len(data) % record:
            raise DataError(f"{name} has {len(data)} bytes", f"a record has {record}", f"download {self.archive} again")
        records = np.frombuffer(data, np.uint8).reshape(-1, record)
        labels = records[:, byte].astype(np.int64)
        if labels.max() >= count:
            raise DataError(f"{name} holds the label {labels.max()}", f"there are {count} classes", "download it again")
        return records[:, self.label_bytes :].reshape(-1, 3, SIDE, SIDE), labels


def _read(path: Path) -> bytes:
    try:
        return read_bounded(path.resolve(), LARGEST)
    except (OSError, ValueError) as error:
        raise_if_exhausted(error)
        raise DataError(f"{path} cannot be read", getattr(error, "strerror", None) or str(error), "check it") from None


@DATASETS("cifar10")
@dataclass(kw_only=True)
class CIFAR10(_CIFAR):
    """Photographs of ten kinds of animals and vehicles."""

    name = "cifar10"
    home = "CIFAR10"
    archive = "cifar-10-binary.tar.gz"
    md5 = "c32a1d4ab5d03f1284b67883e8d87530"
    inside = "cifar-10-batches-bin"
    parts: ClassVar = {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)}
    label_bytes = 1

    def label_file(self) -> tuple[str, int, int]:
        return "batches.meta.txt", 10, 0


@DATASETS("cifar100")
@dataclass(kw_only=True)
class CIFAR100(_CIFAR):
    """Photographs in 100 classes, `labels` fine, or in 20 groups of them, `labels` coarse."""

    name = "cifar100"
    home = "CIFAR100"
    archive = "cifar-100-binary.tar.gz"
    md5 = "03b5dce01913d631647c71ecec9e9cb8"
    inside = "cifar-100-binary"
    parts: ClassVar = {"train": ("train.bin",), "test": ("test.bin",)}
    label_bytes = 2

    labels: Literal["fine", "coarse"] = "fine"

    def label_file(self) -> tuple[str, int, int]:
        return ("fine_label_names.txt", 100, 1) if self.labels == "fine" else ("coarse_label_names.txt", 20, 0)
