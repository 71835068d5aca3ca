"""MADE: an autoencoder whose weights are masked so that output d depends only on the pixels before d.

One pass gives all conditionals p(x_d | x_<d) of binary pixels, hence the exact likelihood; a sample takes one step for
each pixel. Each unit has a degree, the number of pixels that it may depend on; a weight stays if the degrees allow it.

Germain, Gregor, Murray & Larochelle, MADE: Masked Autoencoder for Distribution Estimation, ICML 2015
(arXiv:1502.03509): source of the equations below. With several masks, each batch is trained with one of them.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal

import torch
from annotated_types import MinLen
from torch import Tensor, nn
from torch.nn.functional import linear

from genlab.core import rng
from genlab.core.model import LikelihoodKind, LikelihoodOf, Model, Shape
from genlab.nn.losses.likelihood import bernoulli_nll, binarize
from genlab.registry import MODELS, PositiveInt


class MaskedLinear(nn.Linear):
    """A linear layer for several masks: weight (o, i) is kept if unit i's degree is at most unit o's.

    The k-th masks follow from the k-th degrees of the inputs (K, I) and the outputs (K, O): equations 8 and 9.
    """

    degrees_in: Tensor
    degrees_out: Tensor

    def __init__(self, degrees_in: Tensor, degrees_out: Tensor) -> None:
        super().__init__(degrees_in.shape[1], degrees_out.shape[1])
        self.register_buffer("degrees_in", degrees_in.clone())
        self.register_buffer("degrees_out", degrees_out.clone())

    def masked(self, k: Tensor) -> Tensor:
        """The weights (O, I) under mask k, int64 (1,)."""
        kept = self.degrees_in[k] <= self.degrees_out[k].T
        return self.weight * kept.to(self.weight.dtype)  # a product with booleans is slow, and its gradient too

    def init_for_relu(self) -> None:
        """Initial weights N(0, 2/n), n being the inputs that an output sees under the first mask (He et al. 2015)."""
        seen = (self.degrees_in[0] <= self.degrees_out[0][:, None]).sum(1, keepdim=True).clamp(min=1)
        with torch.no_grad():
            self.weight.normal_().mul_((2 / seen).sqrt())

    def forward(self, x: Tensor, k: Tensor) -> Tensor:  # type: ignore[override]  # the mask is chosen at each call
        return linear(x, self.masked(k), self.bias)


@MODELS("made")
class MADE(Model):
    """Hidden layers of widths `hidden` with ReLU; pixels are binarized at every step.

    `masks` is the number of masks, one of them drawn for each batch; with `order` random each has its own order of the
    pixels, else all keep that of the image. p(x) is the average over the masks.
    """

    likelihood_kind: LikelihoodKind = "exact"
    likelihood_of: LikelihoodOf = "binary"

    def __init__(
        self,
        image_shape: Shape,
        hidden: Annotated[list[PositiveInt], MinLen(1)],
        masks: PositiveInt = 1,
        order: Literal["natural", "random"] = "natural",
    ) -> None:
        super().__init__()
        self.image_shape, self.masks = image_shape, masks
        pixels = math.prod(image_shape)
        first = _orders(masks, pixels, order == "random")
        degrees = [first]
        for width in hidden:
            degrees.append(_hidden_degrees(degrees[-1], width, pixels))
        degrees.append(first - 1)  # an output sees only degrees below its own: equation 9
        layers = [MaskedLinear(below, above) for below, above in pairwise(degrees)]
        for layer in layers[:-1]:
            layer.init_for_relu()
        self.layers = nn.ModuleList(layers)

    def loss(self, image: Tensor) -> dict[str, Tensor]:
        """−log p(x) in nats under one of the masks, the same for the whole batch."""
        x = self.observe(image)
        return {"loss": bernoulli_nll(self.logits(x, self._any_mask(x)), x).mean()}

    def _any_mask(self, like: Tensor) -> Tensor:
        with rng.replicated():
            return (rng.uniform(1, like=like) * self.masks).long().clamp(max=self.masks - 1)

    def logits(self, x: Tensor, k: Tensor) -> Tensor:
        """Logits (N, C, H, W) of p(x_d | x_<d) under mask k, int64 (1,)."""
        h = x.flatten(1)
        for depth, layer in enumerate(self.layers):
            h = layer(h.relu() if depth else h, k)
        return h.unflatten(1, self.image_shape)

    def observe(self, image: Tensor) -> Tensor:
        """Pixels 0 and 1, sampled from the gray levels."""
        return binarize(image)

    def log_likelihood(self, x: Tensor) -> Tensor:
        """log p(x) of binary images, (N,) in nats: the log of the average of the masks' probabilities."""
        each = [-bernoulli_nll(self.logits(x, k), x) for k in torch.arange(self.masks, device=x.device).split(1)]
        return torch.logsumexp(torch.stack(each), 0) - math.log(self.masks)

    def score(self, image: Tensor) -> Tensor:
        """−log p(x), (N,) in nats."""
        return -self.log_likelihood(self.observe(image))

    def sample(self, n: int) -> Tensor:
        """n images (n, C, H, W) of zeros and ones, each from a random one of the masks, pixel by pixel."""
        first, *_ = self.layers
        assert isinstance(first, MaskedLinear)
        mask = rng.categorical(torch.ones(n, self.masks, device=first.weight.device))
        x = torch.zeros(n, first.in_features, device=first.weight.device)
        u = rng.uniform(*x.shape, like=x)
        for k in mask.unique().split(1):
            chosen = (mask == k).nonzero()[:, 0]
            x[chosen] = self._sampled(u[chosen], k)
        return x.unflatten(1, self.image_shape)

    def _sampled(self, u: Tensor, k: Tensor) -> Tensor:
        """Pixels (N, D) under mask k from uniform numbers (N, D). The first layer's sums grow pixel by pixel."""
        first, *inner, last = self.layers
        assert isinstance(first, MaskedLinear)
        assert isinstance(last, MaskedLinear)
        columns = first.masked(k).T
        weights = [(layer.masked(k), layer.bias) for layer in inner if isinstance(layer, MaskedLinear)]
        rows = last.masked(k)
        x, total = torch.zeros_like(u), first.bias.expand(len(u), -1)
        for d in first.degrees_in[k][0].argsort().tolist():
            h = total.relu()
            for weight, bias in weights:
                h = linear(h, weight, bias).relu()
            p = (h @ rows[d] + last.bias[d]).float().sigmoid()
            x[:, d] = (u[:, d] < p).float()
            total = total + x[:, d : d + 1] * columns[d]
        return x


def _orders(masks: int, pixels: int, shuffled: bool) -> Tensor:
    """The position of each pixel in the order of each mask, int64 (masks, pixels) from 1."""
    natural = torch.arange(1, pixels + 1)
    return torch.stack([natural[torch.randperm(pixels)] if shuffled else natural for _ in range(masks)])


def _hidden_degrees(below: Tensor, width: int, pixels: int) -> Tensor:
    """Degrees (masks, width) drawn between the smallest of the layer below and pixels − 1 (section 4.2)."""
    least = below.min(1, keepdim=True).values.clamp(max=max(1, pixels - 1))
    return least + (torch.rand(len(below), width) * (max(1, pixels - 1) - least + 1)).long()
