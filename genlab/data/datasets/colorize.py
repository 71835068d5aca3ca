"""Colourisation: any colour data set as pairs, the input `a` being the grey version of the picture `b`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from genlab.core.data_spec import Facts
from genlab.data.dataset import Dataset, Options
from genlab.data.loader import Data
from genlab.data.store.hashing import facts_hash
from genlab.data.store.store import Show, Store
from genlab.data.store.table import Gathered, Table
from genlab.data.wrapped import inner, split_rows
from genlab.errors import ConfigError
from genlab.registry import DATASETS, DatasetSpec, PositiveInt

LUMA = (0.299, 0.587, 0.114)  # red, green, blue: ITU-R BT.601, as Pillow's "L"
CELEBA: dict[str, Any] = {"name": "celeba"}


class GrayTable(Table):
    """A table whose pictures are column `b`, and their grey versions, in as many channels, `a` and `image`."""

    @property
    def names(self) -> tuple[str, ...]:
        return (*super().names, "a", "b")

    def source(self, column: str) -> str:
        return "image" if column in ("a", "b") else column

    def gather(self, rows: Tensor, flips: Tensor | None, columns: Sequence[str]) -> Gathered:
        """Each source is read once, whatever is made of it."""
        return super().gather(rows, flips, self.sources(columns))

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
    """Colour images (N, 3, H, W) to their luma, three times."""
    luma = (image * image.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return torch.cat([luma] * 3, dim=1)


def in_color(facts: Facts | Data) -> None:
    """ConfigError for a data set of grey images."""
    if facts.shape[0] != 3:
        raise ConfigError(
            f"the images of '{facts.name}' are grey already", "key dataset.of", "give a data set of colour images"
        )


@DATASETS("colourise")
class Colorize(Dataset):
    """Any colour data set, `of`, with its own splits and labels. The keys beside `of` are laid over it."""

    name = "colourise"
    unfit = "holds pairs already"

    def __init__(
        self,
        of: DatasetSpec = CELEBA,
        root: str | None = None,
        size: PositiveInt | None = 64,
        flip: bool = False,
        limit: PositiveInt | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(Options(root, size, {}, flip, limit, seed))
        self.inner = inner("dataset.of", of, seed, root=root, size=size, flip=flip, limit=limit)
        self.inner.vet = self.judge

    def judge(self, facts: Facts) -> None:
        in_color(facts)
        if self.vet:
            self.vet(replace(facts, name=self.name, columns=(*facts.columns, "a", "b")))

    def check(self) -> None:
        self.inner.check()

    def prepare(self, show: Show | None = None, verify: bool = False) -> Store:
        return self.inner.prepare(show, verify)

    def open(self, device: torch.device, show: Show | None = None) -> Data:
        data = self.inner.open(device, show)
        in_color(data)
        own = data.split("train").table
        table = GrayTable(self.name, own.columns, device, own.resident)
        known = facts_hash({"colourise": data.fingerprint})
        return Data(table, split_rows(data), data.label_names, known, self.options.seed, self.options.flip)
