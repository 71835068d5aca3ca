"""A codebook: vectors, each standing for those nearest to it.

van den Oord, Vinyals & Kavukcuoglu, Neural Discrete Representation Learning, NeurIPS 2017 (arXiv:1711.00937):
equation 1, and appendix A.1 for the moving averages. Re-seeding of unused codes: Dhariwal et al., Jukebox, 2020
(arXiv:2005.00341), section 3.1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from genlab.core import rng

UNUSED = 1e-30  # an average count that says nothing of a mean any more
LARGEST = 2**24  # distances that are held at a time


class Codebook(nn.Module):
    """`codes` vectors of `dim` numbers, learned by gradient (a parameter) or as moving averages (`ema`).

    `decay` is that of the averages; a code used less than the share `revive` of an even use is dead, and put where
    an encoder's output of the batch lies (0: never). The averages begin empty: a code's first place of its own is the
    mean of the first vectors that it stands for, and until then, or for as long as it stands for none, it keeps its
    place; with `revive` it is dead meanwhile, unless it stands for many.
    """

    vectors: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, codes: int, dim: int, ema: bool, decay: float, revive: float) -> None:
        super().__init__()
        self.ema, self.decay, self.revive = ema, decay, revive
        start = torch.empty(codes, dim).uniform_(-1 / codes, 1 / codes)  # as in the authors' code
        self.register_buffer("counts", torch.zeros(codes))  # N: average number of vectors that a code stands for
        if ema:
            self.register_buffer("vectors", start)  # e
            self.register_buffer("sums", torch.zeros(codes, dim))  # m: average sum of those vectors
        else:
            self.vectors = nn.Parameter(start)

    def forward(self, index: Tensor) -> Tensor:
        """Numbers of codes (N, H, W) to their vectors (N, D, H, W)."""
        return embedding(index, self.vectors).movedim(-1, 1)

    @torch.no_grad()
    def nearest(self, z: Tensor) -> Tensor:
        """The number (N, H, W) of the code nearest to each vector of z (N, D, H, W): equation 1, in float32."""
        rows = _rows(z)
        # ‖z − e‖² without ‖z‖², which is the same for all codes; autocast would round it to 8 bits
        with torch.autocast(z.device.type, enabled=False):
            norms, vectors = self.vectors.square().sum(1), self.vectors.t()
            parts = rows.split(max(1, LARGEST // len(self.vectors)))
            index = [torch.addmm(norms, part, vectors, alpha=-2).argmin(1) for part in parts]
        return torch.cat(index).view(len(z), *z.shape[2:])

    def tally(self, index: Tensor) -> Tensor:
        """How often each code stands in `index`: (codes,) float32."""
        flat = index.flatten()
        return torch.zeros_like(self.counts).index_add_(0, flat, torch.ones_like(flat, dtype=torch.float32))

    @torch.no_grad()
    def follow(self, z: Tensor, index: Tensor) -> None:
        """Move towards the vectors of a batch: equations 6 to 8, then new places for dead codes."""
        rows = _rows(z)
        self.counts.lerp_(self.tally(index), 1 - self.decay)  # eq. 6
        if self.ema:
            found = torch.zeros_like(self.sums).index_add_(0, index.flatten(), rows)
            self.sums.lerp_(found, 1 - self.decay)  # eq. 7
            used = (self.counts > UNUSED)[:, None]
            self.vectors.copy_(torch.where(used, self.sums / self.counts[:, None], self.vectors))  # eq. 8
        if self.revive:
            self._reseed(rows)

    def _reseed(self, rows: Tensor) -> None:
        least = self.revive * len(rows) / len(self.counts)
        dead = self.counts < least
        chosen = (rng.uniform(len(self.counts), like=rows) * len(rows)).long().clamp_(max=len(rows) - 1)
        fresh = rows[chosen]
        self.vectors.copy_(torch.where(dead[:, None], fresh, self.vectors))
        # time to be found before it counts as dead again, little weight against the vectors that find it
        self.counts.copy_(torch.where(dead, 2 * least, self.counts))
        if self.ema:
            self.sums.copy_(torch.where(dead[:, None], 2 * least * fresh, self.sums))


def _rows(z: Tensor) -> Tensor:
    """The vectors of a map (N, D, H, W) as rows (N·H·W, D), float32."""
    return z.detach().movedim(1, -1).flatten(0, -2).float()


def perplexity(tally: Tensor) -> Tensor:
    """exp of the entropy of how often codes are used: from 1 (one code) to their number (all alike)."""
    p = tally / tally.sum()
    return torch.special.entr(p).sum().exp()
