"""Real NVP: an invertible network of affine coupling layers; the likelihood is exact, and so is the inverse.

A coupling layer leaves half of x as it is, and scales and shifts the other half by functions of the first. Its inverse
needs no inverse of these functions, and its log-determinant is the sum of the log scales. Images are halved by
checkerboards and by channels at several scales; after each scale half of the channels become part of the code.

Dinh, Sohl-Dickstein & Bengio, Density Estimation Using Real NVP, ICLR 2017 (arXiv:1605.08803): source of the equations
below. Without the paper's batch normalization between coupling layers.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from genlab.core.model import LikelihoodKind, LikelihoodOf, Model, Shape
from genlab.errors import ConfigError
from genlab.nn.losses.dequantization import centered, dequantize, from_logit, per_level, quantize, to_logit
from genlab.registry import MODELS, NETWORKS, NetworkSpec, PositiveInt, Spec

Alpha = Annotated[float, Gt(0), Lt(0.5)]
Scales = Annotated[int, Ge(1), Lt(8)]


class Coupling(nn.Module):
    """y = b ⊙ x + (1 − b) ⊙ (x ⊙ exp(s(b ⊙ x)) + t(b ⊙ x)) for a binary mask b: equation 9."""

    mask: Tensor

    def __init__(self, network: Spec, mask: Tensor) -> None:
        super().__init__()
        channels, height, width = mask.shape
        self.register_buffer("mask", mask, persistent=False)
        out = (2 * channels, height, width)
        self.network = NETWORKS.build(network, "model.network", inp=(channels, height, width), out=out)
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))  # of s, whose tanh keeps it stable

    def _s_t(self, x: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self.network(x * self.mask).float().chunk(2, dim=1)
        return self.scale * s.tanh() * (1 - self.mask), t * (1 - self.mask)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y, and log |det dy/dx| (N,)."""
        s, t = self._s_t(x)
        return x * s.exp() + t, s.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        s, t = self._s_t(y)  # of b ⊙ y = b ⊙ x
        return (y - t) * torch.exp(-s)


class Scale(nn.Module):
    """Coupling layers at one resolution; unless it is the last, then a squeeze, and couplings of channels."""

    def __init__(self, network: Spec, shape: Shape, couplings: int, last: bool) -> None:
        super().__init__()
        channels, height, width = shape
        self.last = last
        spatial = _channel_mask if (height, width) == (1, 1) else _checkerboard
        count = couplings + 1 if last else couplings
        self.before = nn.ModuleList(Coupling(network, spatial(shape, i % 2)) for i in range(count))
        self.after = nn.ModuleList()
        if not last:
            squeezed = (4 * channels, height // 2, width // 2)
            self.after.extend(Coupling(network, _channel_mask(squeezed, i % 2)) for i in range(couplings))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x, log_det = _through(self.before, x)
        if self.last:
            return x, log_det
        x, further = _through(self.after, pixel_unshuffle(x, 2))
        return x, log_det + further

    def inverse(self, y: Tensor) -> Tensor:
        if not self.last:
            y = pixel_shuffle(_back(self.after, y), 2)
        return _back(self.before, y)


@MODELS("realnvp")
class RealNVP(Model):
    """`scales` resolutions, each with `couplings` layers before and after its squeeze, and one more at the last.

    Images are dequantized and mapped to logits with `alpha`; points are taken as they are.
    """

    points: ClassVar = {}
    likelihood_kind: LikelihoodKind
    likelihood_of: LikelihoodOf

    def __init__(
        self,
        image_shape: Shape,
        network: NetworkSpec,
        scales: Scales = 3,
        couplings: PositiveInt = 3,
        alpha: Alpha = 0.05,
    ) -> None:
        super().__init__()
        self.image_shape, self.alpha = image_shape, alpha
        self.of_points = image_shape[1:] == (1, 1)
        # a density of images with noise bounds the probability of 256 levels
        self.likelihood_kind = "exact" if self.of_points else "bound"
        self.likelihood_of = "density" if self.of_points else "dequantized"
        channels, height, width = image_shape
        count = 1 if self.of_points else scales
        _check_sides((height, width), count)
        self.scales = nn.ModuleList()
        for level in range(count):
            last = level == count - 1
            self.scales.append(Scale(network, (channels, height, width), couplings, last))
            channels, height, width = 2 * channels, height // 2, width // 2

    def loss(self, image: Tensor) -> dict[str, Tensor]:
        """−log p(x) in nats; of images also in bits per pixel and channel."""
        loss = -self.log_likelihood(self.observe(image)).mean()
        bits = {} if self.of_points else {"bits_per_dim": loss.detach() / math.log(2) / math.prod(self.image_shape)}
        return {"loss": loss, **bits}

    def observe(self, image: Tensor) -> Tensor:
        """Images with uniform noise as wide as one of 256 levels; points unchanged."""
        return image if self.of_points else dequantize(image)

    def log_likelihood(self, x: Tensor) -> Tensor:
        """log p(x), (N,) in nats, `x` as from `observe`; of images, a level has the volume 1."""
        z, log_det = self.transform(x)
        log_normal = -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)
        density = log_normal + log_det
        return density if self.of_points else per_level(density, z.shape[1])

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z = f(x), (N, D), and log |det dz/dx| (N,), of points or of images in [0, 1]: equations 2 and 3."""
        x = x.float()
        y, log_det = (x, x.new_zeros(len(x))) if self.of_points else to_logit(x, self.alpha)
        parts = []
        for scale in self.scales:
            y, further = scale(y)
            log_det = log_det + further
            if scale is not self.scales[-1]:  # equation 14: half of the channels are factored out
                y, done = y.chunk(2, dim=1)
                parts.append(done.flatten(1))
        return torch.cat([*parts, y.flatten(1)], 1), log_det

    def inverse(self, z: Tensor) -> Tensor:
        """x = f⁻¹(z) of codes (N, D): points, or images in [0, 1]."""
        channels, height, width = self.image_shape
        halvings = range(1, len(self.scales))
        shapes = [(channels * 2**i, height // 2**i, width // 2**i) for i in halvings]
        last = shapes[-1] if shapes else self.image_shape
        *parts, y = z.split([math.prod(shape) for shape in (*shapes, last)], dim=1)
        y = y.unflatten(1, last)
        for i in reversed(range(len(self.scales))):
            if i < len(parts):
                y = torch.cat([y, parts[i].unflatten(1, shapes[i])], 1)
            scale = self.scales[i]
            assert isinstance(scale, Scale)
            y = scale.inverse(y)
        return y if self.of_points else from_logit(y, self.alpha)

    def prior(self, n: int) -> Tensor:
        return self.normal(n, math.prod(self.image_shape))

    def sample(self, n: int) -> Tensor:
        """n samples (n, C, H, W): images of 256 levels in [0, 1], or points."""
        return self.decode(self.prior(n))

    def encode(self, image: Tensor) -> Tensor:
        """The code z = f(x), (N, D), of images at the middle of their levels."""
        return self.transform(image if self.of_points else centered(image))[0]

    def decode(self, code: Tensor) -> Tensor:
        """The image in [0, 1], or point, of each code (N, D)."""
        x = self.inverse(code)
        return x if self.of_points else quantize(x)

    def score(self, image: Tensor) -> Tensor:
        """−log p(x), (N,) in nats, with noise as in training."""
        return -self.log_likelihood(self.observe(image))


def _through(couplings: nn.ModuleList, x: Tensor) -> tuple[Tensor, Tensor]:
    """x through all couplings, and the log-determinant (N,)."""
    log_det = x.new_zeros(len(x))
    for coupling in couplings:
        x, further = coupling(x)
        log_det = log_det + further
    return x, log_det


def _back(couplings: nn.ModuleList, y: Tensor) -> Tensor:
    for coupling in reversed(couplings):
        assert isinstance(coupling, Coupling)
        y = coupling.inverse(y)
    return y


def _checkerboard(shape: Shape, parity: int) -> Tensor:
    """1 on the fields of one color, (C, H, W): figure 3, left."""
    rows, columns = torch.meshgrid(torch.arange(shape[1]), torch.arange(shape[2]), indexing="ij")
    return ((rows + columns + parity) % 2).float().expand(shape).clone()


def _channel_mask(shape: Shape, parity: int) -> Tensor:
    """1 on the first or the second half of the channels, (C, H, W): figure 3, right."""
    first = torch.arange(shape[0]) < shape[0] / 2
    return (first if parity == 0 else ~first).float().view(-1, 1, 1).expand(shape).clone()


def _check_sides(sides: tuple[int, int], scales: int) -> None:
    factor = 2 ** (scales - 1)
    if any(side % factor for side in sides):
        size = max(round(min(sides) / factor), 1) * factor
        raise ConfigError(
            f"model 'realnvp' halves images {scales - 1} times, and {sides[0]}x{sides[1]} does not halve evenly",
            "key model.scales",
            f"use dataset.size={size} or fewer scales",
        )
