"""Losses of two views: what makes their embeddings agree without making all embeddings the same.

Embeddings are (N, D), row i of both from the same image. In training, the images of all ranks are compared with each
other, as if one process held the whole batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.core.global_batch import gathered, own_rows


def nt_xent(a: Tensor, b: Tensor, temperature: float, training: bool) -> tuple[Tensor, Tensor]:
    """The normalized temperature-scaled cross entropy of 2N views, (2N,) in nats, and bool (2N,).

    Among the other 2M − 1 views of a batch of M images, a view has to find the one of the same image by cosine
    similarity; the second result says whether it is the most similar. Chen et al. 2020 (arXiv:2002.05709), eq. 1.
    """
    a, b = F.normalize(a.float(), dim=1), F.normalize(b.float(), dim=1)
    all_a, all_b = gathered(a, training), gathered(b, training)
    partner = own_rows(torch.arange(len(all_a), device=a.device), training)
    itself = F.one_hot(partner, len(all_a)).bool()

    def logits(view: Tensor, others: Tensor, same: Tensor) -> Tensor:
        """First the partners, then the same view of the other images."""
        return torch.cat([view @ others.T, (view @ same.T).masked_fill(itself, -torch.inf)], 1) / temperature

    with torch.autocast(a.device.type, enabled=False):
        both = torch.cat([logits(a, all_b, all_a), logits(b, all_a, all_b)])
    target = partner.repeat(2)
    return F.cross_entropy(both, target, reduction="none"), both.argmax(1) == target


def covariance(z: Tensor) -> Tensor:
    """The covariance (D, D) of embeddings (N, D), divided by N − 1; in float32, also under autocast."""
    centered = z.float() - z.float().mean(0)
    with torch.autocast(z.device.type, enabled=False):
        return centered.T @ centered / (len(z) - 1)


def vicreg(a: Tensor, b: Tensor, training: bool, epsilon: float = 1e-4) -> dict[str, Tensor]:
    """The three terms of VICReg, without weights: Bardes, Ponce & LeCun 2022 (arXiv:2105.04906), section 4.1.

    `invariance`: squared distance of two views; `variance`: how far standard deviations are below 1; `covariance`: the
    squared covariances of different dimensions. As in the authors' code, the first is a mean over dimensions and the
    second a mean over the two views (eq. 6 has sums).
    """
    a, b = gathered(a.float(), training), gathered(b.float(), training)
    dimensions = a.shape[1]
    of_views = (covariance(a), covariance(b))
    variances = torch.stack([each.diagonal() for each in of_views])
    squares = torch.stack([each.square().sum() for each in of_views]) - variances.square().sum(1)
    return {
        "invariance": F.mse_loss(a, b),  # eq. 5
        "variance": F.relu(1 - (variances + epsilon).sqrt()).mean(),  # eq. 1
        "covariance": squares.sum() / dimensions,  # eq. 4, off the diagonal
    }
