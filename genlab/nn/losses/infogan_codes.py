"""InfoGAN's latent codes c: their prior P(c), and a bound on the information about them in an image.

Chen, Duan, Houthooft, Schulman, Sutskever & Abbeel, InfoGAN: Interpretable Representation Learning by Information
Maximizing Generative Adversarial Nets, NeurIPS 2016 (arXiv:1606.03657).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genlab.core import rng
from genlab.nn.layers.labels import one_hot


class LatentCodes(nn.Module):
    """Independent codes: a one-hot vector for each of `categories`, of that many equally likely values; then
    `continuous` numbers, each uniform in [-1, 1].

    Q(c|x) is a softmax for each category. For each number it is a Gaussian: its mean depends on the image, its learned
    scale does not.
    """

    def __init__(self, categories: list[int], continuous: int) -> None:
        super().__init__()
        self.categories, self.continuous = categories, continuous
        self.size = sum(categories) + continuous  # the length of c and of Q's prediction
        if continuous:  # the scale of the prior, which is right for a Q that knows nothing
            self.log_sigma = nn.Parameter(torch.full((continuous,), -0.5 * math.log(3)))

    def sample(self, n: int, like: Tensor) -> Tensor:
        """n codes c ~ P(c), (n, size)."""
        uniform = rng.uniform(n, len(self.categories) + self.continuous, like=like)
        values = [(uniform[:, i] * k).long().clamp(max=k - 1) for i, k in enumerate(self.categories)]
        hot = [one_hot(value, k) for value, k in zip(values, self.categories, strict=True)]
        return torch.cat([*hot, 2 * uniform[:, len(hot) :] - 1], 1)

    def bounds(self, code: Tensor, q: Tensor) -> dict[str, Tensor]:
        """L_I = E log Q(c|x) + H(c) (eq. 5), a lower bound of I(c; x), in nats, summed over the codes of each kind.

        `code` (N, size) as sampled, and Q's prediction for the images generated from it, (N, size): logits and means.
        """
        q, bounds = q.float(), {}
        if self.categories:
            kept = sum(self.categories)
            pairs = zip(code[:, :kept].split(self.categories, 1), q[:, :kept].split(self.categories, 1), strict=True)
            each = [math.log(c.shape[1]) - cross_entropy(logits, c) for c, logits in pairs]  # H(c) = log k
            bounds["categorical"] = torch.stack(each).sum()
        if self.continuous:
            error = (code - q)[:, -self.continuous :] * torch.exp(-self.log_sigma)
            log_q = -0.5 * error.square() - self.log_sigma - 0.5 * math.log(2 * math.pi)
            bounds["continuous"] = (math.log(2) + log_q).sum(1).mean()  # H(c) = log 2
        return bounds
