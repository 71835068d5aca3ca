"""The order of training images, computed from (seed, step): resuming needs no stored state."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def generator(*key: int | str) -> torch.Generator:
    """A CPU generator seeded by a hash of `key`, so that different keys have unrelated streams."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


class Order:
    """A permutation of `indices` (int64, on the device that gathers) for each epoch; the last two are kept.

    With `flip`, each epoch also has random numbers for each image, a function of (seed, epoch, image) alone.
    """

    def __init__(self, indices: Tensor, seed: int | str, flip: bool) -> None:
        self.indices, self.seed, self.flip = indices, seed, flip
        self._epochs: dict[int, tuple[Tensor, Tensor | None]] = {}

    def epoch(self, epoch: int) -> tuple[Tensor, Tensor | None]:
        """Indices in the order of this epoch, and which of them are mirrored (bool) or None."""
        if epoch not in self._epochs:
            n, device = len(self.indices), self.indices.device
            permutation = torch.randperm(n, generator=generator(self.seed, "order", epoch))
            flips = self.augmentation(n, epoch)[permutation].to(device) if self.flip else None
            # a batch can span two epochs, so the previous one is kept
            self._epochs = {e: kept for e, kept in self._epochs.items() if e == epoch - 1}
            self._epochs[epoch] = self.indices[permutation.to(device)], flips
        return self._epochs[epoch]

    def augmentation(self, n: int, epoch: int) -> Tensor:
        """Random augmentation of n images in this epoch, on the host: bool (n,), True if mirrored."""
        return torch.rand(n, generator=generator(self.seed, "flip", epoch)) < 0.5

    def take(self, start: int, count: int) -> tuple[Tensor, Tensor | None]:
        """Positions start .. start+count of the endless stream of epochs."""
        n = len(self.indices)
        epoch, offset = divmod(start, n)
        indices, flips = self.epoch(epoch)
        if offset + count <= n:  # most batches are within one epoch and are a view
            return indices[offset : offset + count], None if flips is None else flips[offset : offset + count]
        taken = []
        while count:
            indices, flips = self.epoch(epoch)
            end = min(offset + count, n)
            taken.append((indices[offset:end], None if flips is None else flips[offset:end]))
            epoch, offset, count = epoch + 1, 0, count - (end - offset)
        drawn = [flips for _, flips in taken if flips is not None]
        return torch.cat([indices for indices, _ in taken]), torch.cat(drawn) if drawn else None
