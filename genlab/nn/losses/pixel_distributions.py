"""Distributions of a pixel whose parameters a network computes: binary, 256 levels, a mixture of logistics.

The channels of a pixel depend on each other: its parameters are functions of the channels before, red, green, blue.

Softmax over 256 levels: van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural Networks, ICML 2016
(arXiv:1601.06759). Mixture: Salimans, Karpathy, Chen & Kingma, PixelCNN++, ICLR 2017 (arXiv:1701.05517), section 2.
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.nn.losses.dequantization import LEVELS
from genlab.nn.losses.likelihood import bernoulli_nll, binarize, logistic_log_mass

LOG_SCALE = -8.0  # the smallest log scale of a logistic: far below the distance of two levels, 1/255
DistributionName = Literal["bernoulli", "softmax", "logistic_mixture"]


class PixelDistribution(Protocol):
    parameters: int  # K, per pixel

    def observe(self, image: Tensor) -> Tensor:
        """The values in [0, 1], (N, C, H, W), whose probability is evaluated."""

    def nll(self, parameters: Tensor, x: Tensor) -> Tensor:
        """−log P of observed images x, (N,) in nats, from parameters (N, K, H, W)."""

    def sample(self, parameters: Tensor) -> Tensor:
        """One pixel (N, C), values in [0, 1], from each row of parameters (N, K)."""


class Bernoulli:
    """Black and white pixels, sampled from the gray levels. The logit of a channel is linear in the channels before."""

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.parameters = channels + _pairs(channels)

    def observe(self, image: Tensor) -> Tensor:
        return binarize(image)

    def nll(self, parameters: Tensor, x: Tensor) -> Tensor:
        logits, coefficients = parameters.split([self.channels, _pairs(self.channels)], dim=1)
        return bernoulli_nll(logits + _linear(coefficients, x), x)

    def sample(self, parameters: Tensor) -> Tensor:
        logits, coefficients = parameters.split([self.channels, _pairs(self.channels)], dim=1)
        u = rng.uniform(*logits.shape, like=logits)
        x = torch.zeros_like(logits)
        for channel in range(self.channels):
            x[:, channel] = (u < (logits + _linear(coefficients, x)).sigmoid())[:, channel].float()
        return x


class Softmax:
    """One probability for each of 256 gray levels."""

    def __init__(self, channels: int) -> None:
        if channels != 1:
            what = "the softmax over 256 levels has no dependence between colors"
            raise ConfigError(what, "key model.likelihood", "use model.likelihood=logistic_mixture")
        self.parameters = LEVELS

    def observe(self, image: Tensor) -> Tensor:
        return nearest_level(image)

    def nll(self, parameters: Tensor, x: Tensor) -> Tensor:
        level = (x[:, 0] * (LEVELS - 1)).round().long()
        return cross_entropy(parameters.float(), level, reduction="none").flatten(1).sum(1)

    def sample(self, parameters: Tensor) -> Tensor:
        return rng.categorical(parameters.softmax(1))[:, None] / (LEVELS - 1)


class LogisticMixture:
    """`components` logistic distributions, rounded to 256 levels; a channel's mean is linear in those before."""

    def __init__(self, channels: int, components: int) -> None:
        self.channels, self.components = channels, components
        self.sizes = [components, components * channels, components * channels, components * _pairs(channels)]
        self.parameters = sum(self.sizes)

    def observe(self, image: Tensor) -> Tensor:
        return nearest_level(image)

    def _unpacked(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits (N, M, ...), means and log scales (N, C, M, ...), coefficients (N, pairs, M, ...) of M components."""
        logits, mean, log_scale, coefficients = parameters.float().split(self.sizes, dim=1)
        mean, log_scale, coefficients = (x.unflatten(1, (-1, self.components)) for x in (mean, log_scale, coefficients))
        return logits, (mean + 1) / 2, (log_scale - 1).clamp(min=LOG_SCALE), coefficients.tanh()

    def nll(self, parameters: Tensor, x: Tensor) -> Tensor:
        logits, mean, log_scale, coefficients = self._unpacked(parameters)
        x = x.float()[:, :, None]
        log_mass = logistic_log_mass(mean + _linear(coefficients, x), x, log_scale).sum(1)
        return -torch.logsumexp(log_softmax(logits, 1) + log_mass, 1).flatten(1).sum(1)

    def sample(self, parameters: Tensor) -> Tensor:
        logits, mean, log_scale, coefficients = self._unpacked(parameters)
        chosen = rng.categorical(logits.softmax(1))[:, None, None]
        mean, log_scale, coefficients = (
            x.gather(2, chosen.expand(-1, x.shape[1], -1))[:, :, 0] for x in (mean, log_scale, coefficients)
        )
        u = rng.uniform(*mean.shape, like=mean).clamp(1e-5, 1 - 1e-5)
        noise = log_scale.exp() * u.logit()
        x = torch.zeros_like(mean)
        for channel in range(self.channels):  # rounded, since the model has seen rounded values only
            value = (mean + _linear(coefficients, x) + noise)[:, channel]
            x[:, channel] = nearest_level(value.clamp(0, 1))
        return x


def pixel_distribution(name: DistributionName, channels: int, components: int) -> PixelDistribution:
    """The distribution `name` of pixels with 1 or 3 channels."""
    if name == "logistic_mixture":
        return LogisticMixture(channels, components)
    return Bernoulli(channels) if name == "bernoulli" else Softmax(channels)


def nearest_level(image: Tensor) -> Tensor:
    """Images in [0, 1] rounded to the nearest of 256 levels, k/255."""
    return (image * (LEVELS - 1)).round() / (LEVELS - 1)


def _pairs(channels: int) -> int:
    """The number of pairs of a channel and one before it."""
    return channels * (channels - 1) // 2


def _linear(coefficients: Tensor, x: Tensor) -> Tensor:
    """Each channel's sum over the channels before it of coefficient times value, of the shape of `x` broadcast.

    `coefficients` (N, pairs, ...) are those of green on red, blue on red, blue on green; `x` is (N, C, ...).
    """
    if x.shape[1] == 1:
        return torch.zeros_like(x)
    of_red, blue_on_red, blue_on_green = coefficients.unbind(1)
    red, green = x[:, 0], x[:, 1]
    return torch.stack([torch.zeros_like(of_red * red), of_red * red, blue_on_red * red + blue_on_green * green], 1)
