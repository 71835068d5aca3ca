"""Pairs of images: columns `a` and `b`, both from one table, matched or of two domains.

A pair is two indices, of its image `a` and its image `b` among all images. `image` is `a`, so that readers of single
images get the inputs. Nothing is stored or decoded twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from genlab.data.loader import Data
from genlab.data.sampler import Order, generator
from genlab.data.store.hashing import json_hash
from genlab.data.store.stored_array import StoredArray
from genlab.data.store.table import Gathered, Table

SIDES = {"image": 0, "a": 0, "b": 1}  # column -> its position in a pair
JITTER = 286 / 256  # an image is enlarged by this factor and cropped to its size (Isola et al., section 6.2)


@dataclass(frozen=True)
class Augment:
    """Augmentation of training images: mirrored half the time; enlarged by 286/256 and cropped at a random position."""

    flip: bool
    jitter: bool


class PairTable(Table):
    """A table read by pairs of indices (N, 2); `aligned` if the images of a pair show the same thing."""

    def __init__(
        self,
        name: str,
        images: Tensor | StoredArray,
        device: torch.device,
        resident: bool,
        augment: Augment,
        aligned: bool,
    ) -> None:
        super().__init__(name, {"image": images}, device, resident)
        self.augment, self.aligned = augment, aligned

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(SIDES)

    def gather(self, indices: Tensor, flips: Tensor | None, columns: Sequence[str]) -> Gathered:
        images = self.columns["image"]
        gathered = tuple(self._take(images, indices[:, SIDES[column]]) for column in columns)
        return (*gathered, flips) if flips is not None else gathered

    def finish(
        self,
        gathered: Gathered,
        columns: Sequence[str],
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> Gathered:
        """Images in [0, 1]. Random numbers may follow them: (n, 3) for both images of a pair, or (n, 2, 3)."""
        drawn = gathered[len(columns)].to(self.device) if len(gathered) > len(columns) else None
        if drawn is not None and drawn.ndim == 2:
            drawn = drawn[:, None].expand(-1, 2, -1)
        return tuple(
            self._finish(raw, column, None if drawn is None else drawn[:, SIDES[column]], memory_format)
            for column, raw in zip(columns, gathered, strict=False)
        )

    def _finish(self, raw: Tensor, column: str, drawn: Tensor | None, memory_format: torch.memory_format) -> Tensor:
        flips = [drawn[:, 0] < 0.5] if drawn is not None and self.augment.flip else []
        [image] = super().finish((raw, *flips), (column,), memory_format)
        if drawn is None or not self.augment.jitter:
            return image
        return jittered(image, drawn[:, 1:]).contiguous(memory_format=memory_format)


def jittered(image: Tensor, position: Tensor) -> Tensor:
    """Images (N, C, H, W) enlarged by 286/256 and cropped to their size at `position` (N, 2), from (0, 0) to (1, 1)."""
    scale = image.new_full((len(image),), 1 / JITTER)
    x, y = ((1 - scale)[:, None] * (2 * position - 1)).unbind(1)
    zero = torch.zeros_like(scale)
    window = torch.stack([scale, zero, x, zero, scale, y], dim=1).view(-1, 2, 3)
    grid = nn.functional.affine_grid(window, list(image.shape), align_corners=False)
    return nn.functional.grid_sample(image, grid, padding_mode="border", align_corners=False)


class PairOrder(Order):
    """Pairs in order, each with three uniform numbers for (mirror, crop x, crop y), fixed by (seed, epoch, pair)."""

    def augmentation(self, n: int, epoch: int) -> Tensor:
        return torch.rand(n, 3, generator=generator(self.seed, "chances", epoch))


class TwoStreams(PairOrder):
    """Images a in epochs, each with the next image of a stream b, which has its own epochs."""

    def __init__(self, a: Tensor, b: Tensor, seed: int, augment: bool) -> None:
        super().__init__(a, seed, augment)
        self.other = PairOrder(b, f"{seed} b", augment)  # another key: another permutation and other random numbers

    def take(self, start: int, count: int) -> tuple[Tensor, Tensor | None]:
        a, for_a = super().take(start, count)
        b, for_b = self.other.take(start, count)
        both = None if for_a is None or for_b is None else torch.stack([for_a, for_b], dim=1)
        return torch.stack([a, b], dim=1), both


class PairData(Data):
    """Splits of pairs (N, 2). With `others`, the training images of domain b, new pairs are sampled in each epoch."""

    def __init__(
        self,
        table: PairTable,
        splits: dict[str, Tensor],
        fingerprint: str,
        seed: int,
        split_seed: int,
        others: Tensor | None = None,
    ) -> None:
        augment = table.augment
        fingerprint = json_hash({"pairs": fingerprint, **asdict(augment)})
        super().__init__(table, splits, None, fingerprint, seed, augment.flip or augment.jitter, split_seed)
        self.others = None if others is None else others.to(table.home)

    def order(self, indices: Tensor) -> Order:
        if self.others is None:
            return PairOrder(indices, self._seed, self._flip)
        return TwoStreams(indices[:, 0], self.others, self._seed, self._flip)
