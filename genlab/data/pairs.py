"""Data in pairs: columns `a` and `b`, both pictures of one table, matched or of two domains.

A row is two numbers, those of its picture `a` and its picture `b` among all pictures. `image` is `a`, so that whatever
asks for images alone gets the inputs. Nothing is stored or decoded twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from genlab.data.loader import Data
from genlab.data.sampler import Order, generator
from genlab.data.store.hashing import facts_hash
from genlab.data.store.rows import StoredRows
from genlab.data.store.table import Gathered, Table

SIDES = {"image": 0, "a": 0, "b": 1}  # column -> its number in a row
JITTER = 286 / 256  # a picture is made that much larger before its own size is cut out (Isola et al., section 6.2)


@dataclass(frozen=True)
class Augment:
    """What happens to training pictures: mirrored half the time; enlarged by 286/256 and cut at a random place."""

    flip: bool
    jitter: bool


class PairTable(Table):
    """Rows (N, 2) of the numbers of two pictures; `aligned` if they show the same thing."""

    def __init__(
        self,
        name: str,
        pictures: Tensor | StoredRows,
        device: torch.device,
        resident: bool,
        augment: Augment,
        aligned: bool,
    ) -> None:
        super().__init__(name, {"image": pictures}, device, resident)
        self.augment, self.aligned = augment, aligned

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(SIDES)

    def gather(self, rows: Tensor, flips: Tensor | None, columns: Sequence[str]) -> Gathered:
        pictures = self.columns["image"]
        gathered = tuple(self._take(pictures, rows[:, SIDES[column]]) for column in columns)
        return (*gathered, flips) if flips is not None else gathered

    def finish(
        self,
        gathered: Gathered,
        columns: Sequence[str],
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> Gathered:
        """Pictures in [0, 1]. After them may come chances, (n, 3) for both pictures of a row, or (n, 2, 3)."""
        chances = gathered[len(columns)].to(self.device) if len(gathered) > len(columns) else None
        if chances is not None and chances.ndim == 2:
            chances = chances[:, None].expand(-1, 2, -1)
        return tuple(
            self._finish(raw, column, None if chances is None else chances[:, SIDES[column]], memory_format)
            for column, raw in zip(columns, gathered, strict=False)
        )

    def _finish(self, raw: Tensor, column: str, chances: Tensor | None, memory_format: torch.memory_format) -> Tensor:
        flips = [chances[:, 0] < 0.5] if chances is not None and self.augment.flip else []
        [picture] = super().finish((raw, *flips), (column,), memory_format)
        if chances is None or not self.augment.jitter:
            return picture
        return jittered(picture, chances[:, 1:]).contiguous(memory_format=memory_format)


def jittered(image: Tensor, place: Tensor) -> Tensor:
    """Images (N, C, H, W) made larger by 286/256 and cut to their old size at `place` (N, 2), from (0, 0) to (1, 1)."""
    scale = image.new_full((len(image),), 1 / JITTER)
    x, y = ((1 - scale)[:, None] * (2 * place - 1)).unbind(1)
    zero = torch.zeros_like(scale)
    window = torch.stack([scale, zero, x, zero, scale, y], dim=1).view(-1, 2, 3)
    grid = nn.functional.affine_grid(window, list(image.shape), align_corners=False)
    return nn.functional.grid_sample(image, grid, padding_mode="border", align_corners=False)


class Chances(Order):
    """Rows in order, each with uniform numbers, a function of (seed, epoch, row): mirror or not, and place (x, y)."""

    def chances(self, n: int, epoch: int) -> Tensor:
        return torch.rand(n, 3, generator=generator(self.seed, "chances", epoch))


class TwoStreams(Chances):
    """Pictures a in epochs, each beside the next of a stream of pictures b, which has epochs of its own."""

    def __init__(self, a: Tensor, b: Tensor, seed: int, augment: bool) -> None:
        super().__init__(a, seed, augment)
        self.other = Chances(b, f"{seed} b", augment)  # another key: another permutation, other chances

    def take(self, start: int, count: int) -> tuple[Tensor, Tensor | None]:
        a, chances = super().take(start, count)
        b, others = self.other.take(start, count)
        both = None if chances is None or others is None else torch.stack([chances, others], dim=1)
        return torch.stack([a, b], dim=1), both


class PairData(Data):
    """Splits of rows (N, 2). With `others`, the training pictures of domain b, pairs are drawn anew in each epoch."""

    def __init__(
        self,
        table: PairTable,
        splits: dict[str, Tensor],
        fingerprint: str,
        seed: int,
        others: Tensor | None = None,
    ) -> None:
        augment = table.augment
        facts = {"pairs": fingerprint, **asdict(augment)}
        super().__init__(table, splits, None, facts_hash(facts), seed, augment.flip or augment.jitter)
        self.others = None if others is None else others.to(table.home)

    def order(self, rows: Tensor) -> Order:
        if self.others is None:
            return Chances(rows, self._seed, self._flip)
        return TwoStreams(rows[:, 0], self.others, self._seed, self._flip)
