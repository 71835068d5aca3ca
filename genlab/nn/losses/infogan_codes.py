"""InfoGAN's latent codes c: their law P(c), and how much of them an image tells.

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
    """Independent codes: for each of `categories` a category of that many equally likely values, as one-hot numbers;
    then `continuous` numbers, each uniform in [-1, 1].

    Q(c|x) is a softmax for each category, and for each number a Gaussian whose mean depends on the image and whose
    scale, learned, does not.
    """

    def __init__(self, categories: list[int], continuous: int) -> None:
        super().__init__()
        self.categories, self.continuous = categories, continuous
        self.size = sum(categories) + continuous  # numbers in a code, and in what Q says of it
        if continuous:  # that of the prior, at which Q need not know anything
            self.log_sigma = nn.Parameter(torch.full((continuous,), -0.5 * math.log(3)))

    def draw(self, n: int, like: Tensor) -> Tensor:
        """n codes c ~ P(c), (n, size)."""
        uniform = rng.uniform(n, len(self.categories) + self.continuous, like=like)
        values = [(uniform[:, i] * k).long().clamp(max=k - 1) for i, k in enumerate(self.categories)]
        hot = [one_hot(value, k) for value, k in zip(values, self.categories, strict=True)]
        return torch.cat([*hot, 2 * uniform[:, len(hot) :] - 1], 1)

    def bounds(self, code: Tensor, q: Tensor) -> dict[str, Tensor]:
        """L_I = E log Q(c|x) + H(c) (eq. 5), a lower bound of I(c; x), in nats: the sum of each kind's codes.

        `code` (N, size) as drawn, and what Q says of the images made with it, (N, size): logits and means.
        """
        q, found = q.float(), {}
        if self.categories:
            kept = sum(self.categories)
            pairs = zip(code[:, :kept].split(self.categories, 1), q[:, :kept].split(self.categories, 1), strict=True)
            told = [math.log(c.shape[1]) - cross_entropy(logits, c) for c, logits in pairs]  # H(c) = log k
            found["categorical"] = torch.stack(told).sum()
        if self.continuous:
            error = (code - q)[:, -self.continuous :] * torch.exp(-self.log_sigma)
            log_q = -0.5 * error.square() - self.log_sigma - 0.5 * math.log(2 * math.pi)
            found["continuous"] = (math.log(2) + log_q).sum(1).mean()  # H(c) = log 2
        return found
