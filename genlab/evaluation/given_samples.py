"""Samples that are given, of no model that is known here, in the place of a model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genlab.core.model import Model
from genlab.data.dataset import Split

if TYPE_CHECKING:
    from genlab.evaluation.extraction import Extractor


class GivenSamples(Model):
    """A model whose samples are the images of a split, in order; it remembers their features.

    `rows` (M,), on the host, are the places in the split that it has; None: all.
    """

    def __init__(self, split: Split, rows: Tensor | None = None, known: dict[str, Tensor] | None = None) -> None:
        super().__init__()
        self.split, self.rows = split, torch.arange(len(split)) if rows is None else rows
        self.known = {} if known is None else known
        self.at = 0

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, n: int) -> Tensor:
        """The next n images (n, C, H, W) in [0, 1]; after the last one, from the first again."""
        rows = self.rows[torch.arange(self.at, self.at + n) % len(self)]
        self.at = (self.at + n) % len(self)
        part = replace(self.split, indices=self.split.indices[rows.to(self.split.indices.device)])
        [(images,)] = part.batches(("image",), n)
        return images

    def features(self, extractor: Extractor) -> Tensor:
        """The features (M, D) of its samples."""
        from genlab.evaluation.extraction import BATCH, features

        if extractor.name not in self.known:
            self.known[extractor.name] = features(extractor, (b for (b,) in self.split.batches(("image",), BATCH)))
        return self.known[extractor.name][self.rows]

    def without(self, block: int, blocks: int) -> GivenSamples:
        """The same without one of `blocks` random parts of like size; random, as a file may be sorted by class."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(0))
        return GivenSamples(self.split, self.rows[order % blocks != block], self.known)
