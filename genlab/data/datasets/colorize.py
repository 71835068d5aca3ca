"""Colorization: any color data set as pairs, the input `a` being the gray version of the image `b`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genlab.core.data_spec import DataSpec
from genlab.data.derived import Derived, split_indices
from genlab.data.loader import Data
from genlab.data.store.hashing import json_hash
from genlab.data.store.store import Progress
from genlab.data.store.table import Gathered, Table
from genlab.errors import ConfigError
from genlab.registry import DATASETS, DatasetSpec, PositiveInt

LUMA = (0.299, 0.587, 0.114)  # red, green, blue: ITU-R BT.601, as Pillow's "L"


class GrayTable(Table):
    """A table whose column `b` holds the images, and `a` and `image` their grayscale versions with equal channels."""

    @property
    def names(self) -> tuple[str, ...]:
        return (*super().names, "a", "b")

    def source(self, column: str) -> str:
        return "image" if column in ("a", "b") else column

    def gather(self, indices: Tensor, flips: Tensor | None, columns: Sequence[str]) -> Gathered:
        """Each source is read once, however many columns are made of it."""
        return super().gather(indices, flips, self.sources(columns))

    def sources(self, columns: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(map(self.source, columns)))

    def finish(
        self,
        gathered: Gathered,
        columns: Sequence[str],
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> Gathered:
        sources = self.sources(columns)
        found = dict(zip(sources, super().finish(gathered, sources, memory_format), strict=True))
        if "image" in found:
            found |= {"b": found["image"], "image": gray(found["image"])}
            found["a"] = found["image"]
        return tuple(found[column] for column in columns)


def gray(image: Tensor) -> Tensor:
    """Color images (N, 3, H, W) to their luma, repeated in three channels."""
    luma = (image * image.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return torch.cat([luma] * 3, dim=1)


@DATASETS("colorize")
@dataclass(kw_only=True)
class Colorize(Derived):
    """Any color data set, `base`, with its own splits and labels. The other keys replace those of the base."""

    name = "colorize"

    base: DatasetSpec = "celeba"
    root: str | None = None
    size: PositiveInt | None = 64
    flip: bool = False
    limit: PositiveInt | None = None

    def __post_init__(self) -> None:
        self.derive("base", self.base, root=self.root, size=self.size, flip=self.flip, limit=self.limit)

    def spec(self, inner: DataSpec) -> DataSpec:
        if inner.shape[0] != 3:
            raise ConfigError(
                f"the images of '{inner.name}' are already gray", "key dataset.base", "give a data set of color images"
            )
        return DataSpec(self.name, inner.shape, (*inner.columns, "a", "b"), inner.label_names, inner.multi_label)

    def open(self, device: torch.device, progress: Progress | None = None) -> Data:
        data = self.inner.open(device, progress)
        self.spec(data)
        table = GrayTable(self.name, data.table.columns, device, data.resident)
        table.stored = data.table.stored
        fingerprint = json_hash({"colorize": data.fingerprint})
        return Data(table, split_indices(data), data.label_names, fingerprint, self.seed, self.flip, data.split_seed)
