"""CelebA (Liu, Luo, Wang and Tang, 2015): aligned faces with forty attributes. Any subset of the images will do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genlab.data.dataset import Files, Form, OnError, Source, StoredDataset, Zip, fixed
from genlab.data.store.encoded import open_zip
from genlab.errors import DataError
from genlab.registry import DATASETS, PositiveInt
from genlab.utils.files import size_text

IMAGES = "img_align_celeba"
ATTRIBUTES = "list_attr_celeba.txt"
PARTITION = "list_eval_partition.txt"
PARTS = ("train", "valid", "test")  # 0, 1, 2 in the partition file
CROP = 178  # the aligned images are 178x218: the whole width
LONGEST = 2**27  # bytes of a list: the longer one has 26 MB


@DATASETS("celeba")
@dataclass(kw_only=True)
class CelebA(StoredDataset):
    """Aligned faces, their central 178x178 pixels resized. The label is the forty attributes, each 0 or 1."""

    name = "celeba"

    size: PositiveInt = 64
    on_error: OnError = "error"
    num_labels: None = fixed(None)
    classes: None = fixed(None)

    def files(self) -> list[Path]:
        """The folder or zip of images, the attributes, the partition."""
        hint = "its authors' page links to it"
        places = [folder + IMAGES + suffix for folder in ("celeba/", "") for suffix in ("", ".zip")]
        images = self.find(f"CelebA's {IMAGES}.zip (or the folder {IMAGES})", hint, *places)
        lists = [images.with_name(name) for name in (ATTRIBUTES, PARTITION)]
        missing = next((path for path in lists if not path.is_file()), None)
        if missing is not None:
            raise DataError(f"CelebA's {missing.name} is missing", hint, f"put it at {missing}")
        return [images, *lists]

    def read(self) -> Source:
        images, attributes, partition = self.files()
        names, parts = _partition(partition)
        entries = _entries(images)
        here = np.array([name in entries for name in names], dtype=bool)
        if not here.any():
            raise DataError(
                f"{images} holds none of the {len(names)} images named in {partition}",
                "names look like 000001.jpg",
                "put CelebA's aligned and cropped images there",
            )
        kept = np.flatnonzero(here)[np.argsort(parts[here], kind="stable")]
        label_names, table = _attributes(attributes)
        chosen = [names[row] for row in kept]
        lost = next((name for name in chosen if name not in table), None)
        if lost is not None:
            raise DataError(f"{attributes} has no line for {lost}", f"it is in {images}", "use the full list")
        return Source(
            {part: int((parts[kept] == number).sum()) for number, part in enumerate(PARTS)},
            _encoded(images, [entries[name] for name in chosen]),
            np.stack([table[name] for name in chosen]),
            label_names,
            Form(self.size, crop=CROP),
        )


def _entries(images: Path) -> dict[str, str]:
    """Image name to the file or the entry of the zip archive that holds it."""
    if images.is_dir():
        return {name: name for name in os.listdir(images)}
    with open_zip(images) as archive:
        return {entry.rpartition("/")[2]: entry for entry in archive.namelist() if entry.endswith(".jpg")}


def _encoded(images: Path, entries: list[str]) -> Files | Zip:
    return Files(images, entries) if images.is_dir() else Zip(images, entries)


def _lines(path: Path) -> Iterator[list[str]]:
    """The words of each line, one line at a time: all of them would be eight million strings."""
    try:
        if path.stat().st_size > LONGEST:
            raise DataError(f"{path} is too long for a list", f"at most {size_text(LONGEST)}", "download it again")
        with path.open(encoding="ascii") as file:
            for line in file:
                yield line.split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read", f"{type(error).__name__}", "download it again") from None


def _partition(path: Path) -> tuple[list[str], NDArray[np.int64]]:
    """Image names (N,) and their split numbers int64 (N,)."""
    rows = [row for row in _lines(path) if row]
    for number, row in enumerate(rows, 1):
        if len(row) != 2 or row[1] not in ("0", "1", "2"):
            raise _bad_line(path, number, "'NAME.jpg 0', 1 or 2")
    return [name for name, _ in rows], np.array([int(part) for _, part in rows], dtype=np.int64)


def _attributes(path: Path) -> tuple[list[str], dict[str, NDArray[Any]]]:
    """The names of the attributes, and by image name a row uint8 (A,) of 0 and 1."""
    lines = _lines(path)
    head = list(islice(lines, 2))
    names, table = head[1] if len(head) > 1 else [], {}
    for number, row in enumerate(lines, 3):
        if not row:
            continue
        if len(row) != 1 + len(names) or not {"1", "-1"}.issuperset(row[1:]):
            raise _bad_line(path, number, f"a name and {len(names)} values 1 or -1")
        table[row[0]] = np.array([value == "1" for value in row[1:]], dtype=np.uint8)
    if not table:
        raise _bad_line(path, len(head), "a line of the count, one of names, then one for each image")
    return names, table


def _bad_line(path: Path, number: int, expected: str) -> DataError:
    return DataError(f"{path} is damaged at line {number}", f"expected {expected}", "download it again")
