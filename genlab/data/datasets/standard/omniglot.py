"""Omniglot: handwritten characters of many alphabets, twenty drawers each, and its one-shot classification task.

Lake, Salakhutdinov & Tenenbaum, Human-level concept learning through probabilistic program induction, Science 350
(2015). A run of the task has one image of each of twenty new characters, and twenty others to be classified.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from genlab.data.dataset import Files, Form, OnError, Source, StoredDataset, Zip, fixed
from genlab.data.datasets.folder import images_below
from genlab.data.store.encoded import Chain, open_zip
from genlab.data.store.store import Store
from genlab.errors import DataError
from genlab.registry import DATASETS, PositiveInt
from genlab.utils.files import open_regular

BACKGROUND = {"small1": ("small1",), "small2": ("small2",), "both": ("small1", "small2")}
RUNS = "all_runs"
DRAWING = re.compile(r"(?:^|/)([^/]+/[^/]+)/[^/]+\.png$")  # <alphabet>/<character>/<id>_<drawer>.png
LIST = re.compile(r"(?:^|/)(run\d{1,4})/class_labels\.txt$")
LINE = re.compile(r"(run\d{1,4})/test/item\d+\.png \1/training/class\d+\.png")
LONGEST = 2**16  # bytes of a list: there are twenty lines of 50


@DATASETS("omniglot")
@dataclass(kw_only=True)
class Omniglot(StoredDataset):
    """105x105 pixels, black strokes on white. Training images are those of the small background sets; a label is a
    character. The test split is the one-shot task, whose characters are in none of the other splits. Both background
    sets contain the Greek and the Latin alphabet: with `background: both`, each drawing is taken once.

    The column `episode`, int64 (N, 2), has the number of an image's run of the task (−1: none) and its role: 0 is an
    example of its class, 1 is to be classified.
    """

    name = "omniglot"

    size: PositiveInt = 28
    background: Literal["small1", "small2", "both"] = "both"
    on_error: OnError | None = "error"
    test: int = fixed(0)

    def files(self) -> list[Path]:
        names = [*(f"images_background_{part}" for part in BACKGROUND[self.background]), RUNS]
        return [self._found(name) for name in names]

    def _found(self, name: str) -> Path:
        hint = "the repository brendenlake/omniglot has it in its folder python"
        places = [folder + name + suffix for folder in ("omniglot/", "omniglot/python/", "") for suffix in (".zip", "")]
        return self.find(f"Omniglot's {name}.zip (or the folder {name})", hint, *places)

    def read(self) -> Source:
        *backgrounds, runs = self.files()
        drawings = _different((path, drawing) for path in backgrounds for drawing in _drawings(path))
        trials = list(_trials(runs))
        characters = [_character(name) for _, name in drawings] + [trial[1] for trial in trials]
        classes = list(dict.fromkeys(characters))
        number = {character: i for i, character in enumerate(classes)}
        chain = [_encoded(path, [name for of, name in drawings if of == path]) for path in backgrounds]
        return Source(
            {"train": len(drawings), "test": len(trials)},
            Chain([*chain, _encoded(runs, [name for name, _ in trials])]),
            np.array([number[character] for character in characters], dtype=np.int64),
            classes,
            Form(self.size, channels=1),
        )

    @property
    def store_key(self) -> dict[str, Any]:
        """As of any stored set; a store of an earlier version has the drawings of two alphabets twice."""
        return {**super().store_key, "repeated_drawings": False}

    def further_columns(self, stored: Store) -> dict[str, Tensor]:
        """The column `episode`, from the names of the classes and the order of `_trials`."""
        assert stored.labels is not None
        assert stored.label_names is not None
        episode = torch.full((len(stored.labels), 2), -1)
        labels = torch.tensor(np.asarray(stored.labels))
        runs = torch.tensor([_run(name) for name in stored.label_names])[labels]
        seen: set[int] = set()
        for index in torch.nonzero(runs >= 0).flatten().tolist():  # unreadable images, too: a lost example was first
            label = int(labels[index])
            episode[index] = torch.tensor([int(runs[index]), int(label in seen)])
            seen.add(label)
        return {"episode": episode}


def _names(path: Path) -> list[str]:
    """The files in a folder of images or a zip archive, their paths relative to it, sorted."""
    if path.is_dir():
        return images_below(path, path)
    with open_zip(path) as archive:
        return sorted(archive.namelist())


def _encoded(path: Path, names: list[str]) -> Files | Zip:
    return Files(path, names) if path.is_dir() else Zip(path, names)


def _drawings(path: Path) -> list[str]:
    found = [name for name in _names(path) if DRAWING.search(name)]
    if not found:
        raise DataError(
            f"{path} holds no drawings", "they are <alphabet>/<character>/<drawing>.png", "download it again"
        )
    return found


def _different(drawings: Iterable[tuple[Path, str]]) -> list[tuple[Path, str]]:
    """The drawings (background set, path in it) without those of an earlier set: the same alphabet, character, file."""
    taken: dict[tuple[str, ...], tuple[Path, str]] = {}
    for path, name in drawings:
        taken.setdefault(tuple(name.split("/")[-3:]), (path, name))
    return list(taken.values())


def _character(name: str) -> str:
    match = DRAWING.search(name)
    assert match is not None
    return match[1]


def _run(name: str) -> int:
    """The number from 0 of the run that a class belongs to; −1: of none."""
    match = re.fullmatch(r"run(\d{1,4})/class\d+", name)
    return int(match[1]) - 1 if match else -1


def _trials(path: Path) -> Iterator[tuple[str, str]]:
    """The images of the runs, an image's name and its class (run01/class08); in a run, all examples come first."""
    for prefix, lines in _lists(path):
        items = [line.split() for line in lines]
        for image in sorted({example for _, example in items}):
            yield prefix + image, _class(image)
        for item, example in items:
            yield prefix + item, _class(example)


def _class(example: str) -> str:
    """run01/class08 of run01/training/class08.png."""
    return example.replace("/training/", "/").removesuffix(".png")


def _lists(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Of each run: the folders before it and the lines of its list; DataError unless they are pairs of images."""
    found = False
    for place, text in _texts(path):
        match = LIST.search(place)
        assert match is not None
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        bad = next((line for line in lines if not (pair := LINE.fullmatch(line)) or pair[1] != match[1]), None)
        if bad is not None or not lines:
            raise DataError(
                f"{path}: {place} is damaged",
                "a line is run01/test/item01.png run01/training/class08.png",
                "download it again",
            )
        found = True
        yield place[: match.start(1)], lines
    if not found:
        raise DataError(f"{path} holds no runs", "a run is a folder with class_labels.txt", "download it again")


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    """The lists of a folder or a zip archive of runs: path and text, at most LONGEST bytes of it."""
    if path.is_dir():
        for file in sorted(path.glob("**/class_labels.txt")):
            place = file.relative_to(path).as_posix()
            if LIST.search(place):
                with open(open_regular(file, follow=True), "rb") as opened:
                    yield place, opened.read(LONGEST).decode("ascii", "replace")
        return
    with open_zip(path) as archive:
        for place in sorted(name for name in archive.namelist() if LIST.search(name)):
            try:
                with archive.open(place) as entry:
                    yield place, entry.read(LONGEST).decode("ascii", "replace")
            except Exception as error:  # bad checksums, unknown methods, passwords, ...
                raise DataError(f"{path}: {place} cannot be read", type(error).__name__, "download it again") from None
