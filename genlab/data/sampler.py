"""The order of training images as arithmetic: a function of (seed, step), needing no state to be resumed."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def generator(*key: int | str) -> torch.Generator:
    """A CPU generator whose seed is a hash of `key`: other uses and neighbouring epochs get unrelated streams."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


class Order:
    """Permutations of `rows` (int64, on the device that gathers), one an epoch; the last two are kept.

    With `flip`, each epoch also has a coin for each image, a function of (seed, epoch, image) alone.
    """

    def __init__(self, rows: Tensor, seed: int | str, flip: bool) -> None:
        self.rows, self.seed, self.flip = rows, seed, flip
        self._epochs: dict[int, tuple[Tensor, Tensor | None]] = {}

    def epoch(self, epoch: int) -> tuple[Tensor, Tensor | None]:
        """Row numbers in this epoch's order, and which of them are mirrored (bool) or None."""
        if epoch not in self._epochs:
            n, device = len(self.rows), self.rows.device
            permutation = torch.randperm(n, generator=generator(self.seed, "order", epoch))
            flips = self.chances(n, epoch)[permutation].to(device) if self.flip else None
            # a batch can span two epochs, so the one before must stay; older ones are of no more use
            self._epochs = {e: kept for e, kept in self._epochs.items() if e == epoch - 1}
            self._epochs[epoch] = self.rows[permutation.to(device)], flips
        return self._epochs[epoch]

    def chances(self, n: int, epoch: int) -> Tensor:
        """What is drawn for each of n images in this epoch, on the host: whether it is mirrored."""
        return torch.rand(n, generator=generator(self.seed, "flip", epoch)) < 0.5

    def take(self, start: int, count: int) -> tuple[Tensor, Tensor | None]:
        """Positions start .. start+count of the endless stream of epochs."""
        n = len(self.rows)
        epoch, offset = divmod(start, n)
        rows, flips = self.epoch(epoch)
        if offset + count <= n:  # most batches lie within one epoch and are a view
            return rows[offset : offset + count], None if flips is None else flips[offset : offset + count]
        taken = []
        while count:
            rows, flips = self.epoch(epoch)
            end = min(offset + count, n)
            taken.append((rows[offset:end], None if flips is None else flips[offset:end]))
            epoch, offset, count = epoch + 1, 0, count - (end - offset)
        coins = [flips for _, flips in taken if flips is not None]
        return torch.cat([rows for rows, _ in taken]), torch.cat(coins) if coins else None
