"""Restoration by a model that knows the mean of data given data with Gaussian noise: no training, only sampling.

Denoising is sampling from where the noise is: Kawar, Vaksman & Elad, Stochastic Image Denoising by Sampling from the
Posterior Distribution, ICCV Workshops 2021 (arXiv:2101.09552). Inpainting: Lugmayr et al., RePaint: Inpainting Using
Denoising Diffusion Probabilistic Models, CVPR 2022 (arXiv:2201.09865).

States are x = data + σ · noise, so that one code serves models whose own states are scaled in other ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from genlab.core import rng

PosteriorMean = Callable[[Tensor, float], Tensor]  # E[data | x] of states x (N, ...) and σ
SIGMA_MAX, SIGMA_MIN = 80.0, 0.002  # noise levels for data in [-1, 1] (Karras et al. 2022, table 1)


def reverse_step(x: Tensor, data: Tensor, now: float, then: float) -> Tensor:
    """A sample of q(x_then | x_now, data), from the noise level `now` to a smaller one (Ho et al. 2020, equation 7)."""
    kept = (then / now) ** 2
    x = data + kept * (x - data)
    return x + then * (1 - kept) ** 0.5 * rng.normal(*x.shape, like=x) if then > 0 else x


def denoise(mean: PosteriorMean, x: Tensor, levels: Sequence[float]) -> tuple[Tensor, Tensor]:
    """E[data | x], and a sample of data given x, of states with the noise level `levels[0]`; the last level is 0.

    With the exact mean and many levels the sample is exact, unlike the end of a path without noise.
    """
    first = mean(x, levels[0])
    x = reverse_step(x, first, *levels[:2])
    for now, then in pairwise(levels[1:]):
        x = reverse_step(x, mean(x, now), now, then)
    return first, x


def inpaint(
    mean: PosteriorMean, known: Tensor, mask: Tensor, levels: Sequence[float], jump: int, repeats: int
) -> Tensor:
    """Data (N, ...) like `known` except where `mask` is true: a sample given the known values, in approximation.

    At each level the known values are the data with noise (RePaint, algorithm 1). Every `jump` levels are passed
    `repeats` times, with new noise in between, so that unknown values come to fit the known ones.
    """
    x = levels[0] * rng.normal(*known.shape, like=known)
    for now, then in resampled(levels, jump, repeats):
        if then > now:
            x = x + (then**2 - now**2) ** 0.5 * rng.normal(*x.shape, like=x)
        else:
            x = reverse_step(x, mean(x, now), now, then)
            x = torch.where(mask, x, known + then * rng.normal(*x.shape, like=x) if then > 0 else known)
    return x


def resampled(levels: Sequence[float], jump: int, repeats: int) -> Iterator[tuple[float, float]]:
    """Pairs of successive noise levels: each part of `jump` steps down `repeats` times, back at once in between."""
    for start in range(0, len(levels) - 1, jump):
        part = levels[start : start + jump + 1]
        for repeat in range(repeats):
            if repeat:
                yield part[-1], part[0]
            yield from pairwise(part)


def unclipped(x: Tensor, sigma: float) -> Tensor:
    """Noisy data that was clipped to [-1, 1], as if it had not been: beyond a bound, noise is drawn anew.

    The value without noise is taken to be the bound itself, the likeliest one (censored data: Tobin 1958).
    """
    beyond = sigma * rng.normal(*x.shape, like=x).abs()
    return torch.where(x <= -1, -1 - beyond, torch.where(x >= 1, 1 + beyond, x))
