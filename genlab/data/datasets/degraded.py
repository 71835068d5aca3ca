"""Any data set as pairs: the input `a` is a degraded version of the image `b`. Colorization, super-resolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from genlab.core.data_spec import DataSpec
from genlab.data.derived import Derived, split_indices
from genlab.data.loader import Data
from genlab.data.store.hashing import json_hash
from genlab.data.store.store import Progress
from genlab.data.store.table import Gathered, Table
from genlab.errors import ConfigError
from genlab.registry import DATASETS, DatasetSpec, PositiveInt

LUMA = (0.299, 0.587, 0.114)  # red, green, blue: ITU-R BT.601, as Pillow's "L"


class DegradedTable(Table):
    """A table whose column `b` holds the images, and `a` and `image` their versions degraded by `degrade`."""

    degrade: Callable[[Tensor], Tensor]

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
            found |= {"b": found["image"], "image": self.degrade(found["image"])}
            found["a"] = found["image"]
        return tuple(found[column] for column in columns)


@dataclass(kw_only=True)
class DegradedPairs(Derived):
    """Any data set, `base`, with its own splits and labels. The other keys replace those of the base."""

    base: DatasetSpec = "celeba"
    root: str | None = None
    size: PositiveInt | None = 64
    flip: bool = False
    limit: PositiveInt | None = None

    def __post_init__(self) -> None:
        self.derive("base", self.base, root=self.root, size=self.size, flip=self.flip, limit=self.limit)

    def degrade(self, image: Tensor) -> Tensor:
        """The input of images (N, C, H, W) in [0, 1], of the same shape and range."""
        raise NotImplementedError

    def check_base(self, inner: DataSpec) -> None:
        """ConfigError if the images of the base cannot be degraded."""
        raise NotImplementedError

    def identity(self) -> str:
        """What the fingerprint of the data contains beside the base's."""
        return self.name

    def spec(self, inner: DataSpec) -> DataSpec:
        self.check_base(inner)
        return DataSpec(self.name, inner.shape, (*inner.columns, "a", "b"), inner.label_names, inner.multi_label)

    def open(self, device: torch.device, progress: Progress | None = None) -> Data:
        data = self.inner.open(device, progress)
        self.spec(data)
        table = DegradedTable(self.name, data.table.columns, device, data.resident)
        table.stored, table.degrade = data.table.stored, self.degrade
        fingerprint = json_hash({self.identity(): data.fingerprint})
        return Data(table, split_indices(data), data.label_names, fingerprint, self.seed, self.flip, data.split_seed)


def gray(image: Tensor) -> Tensor:
    """Color images (N, 3, H, W) to their luma, repeated in three channels."""
    luma = (image * image.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return torch.cat([luma] * 3, dim=1)


@DATASETS("colorize")
@dataclass(kw_only=True)
class Colorize(DegradedPairs):
    """Any color data set, `base`, with its own splits and labels. The other keys replace those of the base."""

    name = "colorize"

    def degrade(self, image: Tensor) -> Tensor:
        return gray(image)

    def check_base(self, inner: DataSpec) -> None:
        if inner.shape[0] != 3:
            raise ConfigError(
                f"the images of '{inner.name}' are already gray", "key dataset.base", "give a data set of color images"
            )


@DATASETS("low_high")
@dataclass(kw_only=True)
class LowHigh(DegradedPairs):
    """Any data set, `base`, and its images at a `factor`-th of their sides, enlarged again by bicubic interpolation.

    A pixel of low resolution is the mean of a square of `factor` pixels a side.
    """

    name = "low_high"

    factor: Annotated[int, Ge(2), Le(64)] = 4

    def degrade(self, image: Tensor) -> Tensor:
        low = avg_pool2d(image, self.factor)
        return interpolate(low, scale_factor=self.factor, mode="bicubic").clamp(0, 1)

    def check_base(self, inner: DataSpec) -> None:
        height, width = inner.shape[1:]
        if height % self.factor or width % self.factor:
            size = max(round(min(height, width) / self.factor), 1) * self.factor
            raise ConfigError(
                f"images of {height}x{width} are not divisible into squares of {self.factor} pixels",
                "key dataset.factor",
                f"use dataset.size={size} or another factor",
            )

    def identity(self) -> str:
        return f"{self.name} {self.factor}"
