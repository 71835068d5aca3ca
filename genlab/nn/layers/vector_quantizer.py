"""Vector quantization: a codebook, learned by gradient or by moving averages.

van den Oord, Vinyals & Kavukcuoglu, Neural Discrete Representation Learning, NeurIPS 2017 (arXiv:1711.00937):
equation 1, and appendix A.1 for the moving averages. Replacement of dead codes: Dhariwal et al., Jukebox, 2020
(arXiv:2005.00341), section 3.1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from genlab.core import rng

MIN_COUNT = 1e-30  # below this average count, sums / counts is meaningless
MAX_DISTANCES = 2**24  # distances in memory at a time


class Codebook(nn.Module):
    """`num_embeddings` vectors of size `embedding_dim`: a parameter, or moving averages with `decay` if `ema`.

    A code is dead if its average count is below `dead_code_threshold` times the count under uniform use. A dead code
    moves to a random encoder output of the batch; with threshold 0 none is ever moved. The averages start at 0: until
    the first vectors are assigned to a code, it keeps its initial value.
    """

    vectors: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(
        self, num_embeddings: int, embedding_dim: int, ema: bool, decay: float, dead_code_threshold: float
    ) -> None:
        super().__init__()
        self.ema, self.decay, self.dead_code_threshold = ema, decay, dead_code_threshold
        start = torch.empty(num_embeddings, embedding_dim)
        start.uniform_(-1 / num_embeddings, 1 / num_embeddings)  # as in the authors' code
        self.register_buffer("counts", torch.zeros(num_embeddings))  # N: average number of vectors assigned to a code
        if ema:
            self.register_buffer("vectors", start)  # e
            self.register_buffer("sums", torch.zeros(num_embeddings, embedding_dim))  # m: their average sum
        else:
            self.vectors = nn.Parameter(start)

    def forward(self, index: Tensor) -> Tensor:
        """Code indices (N, H, W) to vectors (N, D, H, W)."""
        return embedding(index, self.vectors).movedim(-1, 1)

    @torch.no_grad()
    def nearest(self, z: Tensor) -> Tensor:
        """The index (N, H, W) of the code nearest to each vector of z (N, D, H, W): equation 1, in float32."""
        rows = _rows(z)
        # ‖z − e‖² without ‖z‖², which is the same for all codes; under autocast bf16 would round it
        with torch.autocast(z.device.type, enabled=False):
            norms, vectors = self.vectors.square().sum(1), self.vectors.t()
            parts = rows.split(max(1, MAX_DISTANCES // len(self.vectors)))
            index = [torch.addmm(norms, part, vectors, alpha=-2).argmin(1) for part in parts]
        return torch.cat(index).view(len(z), *z.shape[2:])

    def tally(self, index: Tensor) -> Tensor:
        """How often each code occurs in `index`: (num_embeddings,) float32."""
        flat = index.flatten()
        return torch.zeros_like(self.counts).index_add_(0, flat, torch.ones_like(flat, dtype=torch.float32))

    @torch.no_grad()
    def update(self, z: Tensor, index: Tensor) -> None:
        """Moving averages over a batch of vectors z (N, D, H, W), equations 6 to 8; then dead codes are replaced."""
        rows = _rows(z)
        self.counts.lerp_(self.tally(index), 1 - self.decay)  # eq. 6
        if self.ema:
            found = torch.zeros_like(self.sums).index_add_(0, index.flatten(), rows)
            self.sums.lerp_(found, 1 - self.decay)  # eq. 7
            used = (self.counts > MIN_COUNT)[:, None]
            self.vectors.copy_(torch.where(used, self.sums / self.counts[:, None], self.vectors))  # eq. 8
        if self.dead_code_threshold:
            self._replace_dead_codes(rows)

    def _replace_dead_codes(self, rows: Tensor) -> None:
        least = self.dead_code_threshold * len(rows) / len(self.counts)
        dead = self.counts < least
        chosen = (rng.uniform(len(self.counts), like=rows) * len(rows)).long().clamp_(max=len(rows) - 1)
        fresh = rows[chosen]
        self.vectors.copy_(torch.where(dead[:, None], fresh, self.vectors))
        # enough count to survive some steps unused, little enough for the first assigned vectors to dominate
        self.counts.copy_(torch.where(dead, 2 * least, self.counts))
        if self.ema:
            self.sums.copy_(torch.where(dead[:, None], 2 * least * fresh, self.sums))


def _rows(z: Tensor) -> Tensor:
    """The vectors of a map (N, D, H, W) as rows (N·H·W, D), float32."""
    return z.detach().movedim(1, -1).flatten(0, -2).float()


def perplexity(tally: Tensor) -> Tensor:
    """exp of the entropy of the code frequencies: from 1 (one code used) to the number of codes (uniform use)."""
    p = tally / tally.sum()
    return torch.special.entr(p).sum().exp()
