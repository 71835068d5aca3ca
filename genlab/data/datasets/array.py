"""Arrays from a .npy or .npz file, or passed from Python: `genlab.train(dataset=...)`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import StringConstraints

from genlab.data.adapt import IMAGE_KEYS, LABEL_KEYS, PASSED, AdaptedDataset, as_samples
from genlab.data.dataset import Source, fixed
from genlab.data.store.fingerprint import fingerprint
from genlab.data.store.store import Progress
from genlab.errors import ConfigError, DataError
from genlab.registry import DATASETS
from genlab.utils.image_file import ARRAYS, load_arrays
from genlab.utils.paths import user_file

SUFFIXES = ARRAYS


@DATASETS("array")
@dataclass(kw_only=True)
class Array(AdaptedDataset):
    """Images (N, H, W), (N, H, W, C) or (N, C, H, W), or points (N, D); a .npz file may hold labels as well.

    Validation and test samples are drawn by `split_seed`. `content` stands for samples passed from Python, by their
    hash: they are found again in the store, even by another process.
    """

    name = "array"
    not_in_store: ClassVar[frozenset[str]] = AdaptedDataset.not_in_store | {"content"}

    path: str | None = None
    content: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    root: None = fixed(None)

    def files(self) -> list[Path]:
        if self.content:
            return []
        key = f"key {self.key('path')}"
        if self.path is None:
            raise ConfigError(f"data set '{self.name}' needs a file", key, f"add {self.key('path')}=FILE.npy")
        return [user_file(self.path, key, SUFFIXES)]

    @cached_property
    def source_hash(self) -> str:
        return self.content or fingerprint(self.files())

    def source(self, progress: Progress | None) -> Source:
        if self.content is None:
            self.samples = _load(self.files()[0])
        elif self.content in PASSED:
            self.samples = PASSED[self.content]
        else:
            raise DataError(
                "the images of this run were passed from Python, and their store is gone",
                f"key {self.key('content')}",
                "pass them again: genlab.train(overrides, dataset=...)",
            )
        return super().source(progress)


def _load(path: Path) -> Any:
    """The array of a .npy file, or the images and labels of a .npz file."""
    images, labels = load_arrays(path, (*IMAGE_KEYS, "arr_0"), (*LABEL_KEYS, "arr_1"))
    return as_samples(images if labels is None else (images, labels))
