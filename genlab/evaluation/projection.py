"""Projection: gradient descent on a code so that the generated image matches a target image.

Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020 (arXiv:1912.04958), appendix D: early
steps add noise to the code, and the step size is warmed up and decays at the end. The distance here is the mean squared
difference of pixels, which needs no other network.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.eager import eager

BATCH = 250  # codes whose images are drawn at a time
GROWS, SHRINKS, SHAKES, SHAKING = 0.05, 0.25, 0.75, 0.05  # shares of the search, and of the codes' spread


def project(
    draw: Callable[[Tensor], Tensor], start: Tensor, spread: float, target: Tensor, steps: int, rate: float
) -> Tensor:
    """Codes with the shape of `start` (N, ...) whose images draw(code) are nearest to `target` (N, C, H, W).

    `spread` is the standard deviation of codes; `rate` that of Adam at its largest. The same noise seed gives the same
    codes on the same device. Works inside torch.no_grad().
    """
    with torch.enable_grad():
        code = start.detach().clone().requires_grad_()
        optimizer = eager(torch.optim.Adam)([code], betas=(0.9, 0.999))
        for step in range(steps):
            done = step / steps
            optimizer.param_groups[0]["lr"] = rate * pace(done)
            shaken = spread * SHAKING * max(0.0, 1 - done / SHAKES) ** 2
            image = draw(code + shaken * rng.normal(*code.shape, like=code))
            loss = (image - target).square().flatten(1).mean(1).sum()  # each image's code moves by itself
            [code.grad] = torch.autograd.grad(loss, code)
            optimizer.step()
    return code.detach()


def pace(done: float) -> float:
    """Share of the largest step: up in the first twentieth, down along half a cosine in the last quarter."""
    down = min(1.0, (1 - done) / SHRINKS)
    return (0.5 - 0.5 * math.cos(math.pi * down)) * min(1.0, done / GROWS)


def nearest_codes(draw: Callable[[Tensor], Tensor], codes: Tensor, target: Tensor, k: int) -> Tensor:
    """For each image of `target` (N, C, H, W), the k codes (N, k, ...) of `codes` (M, ...) with the nearest images.

    A search from one place often ends in a poor optimum.
    """
    images = torch.cat([draw(part) for part in codes.split(BATCH)]).flatten(1)
    distance = torch.cdist(target.flatten(1), images)
    return codes[distance.topk(k, largest=False).indices]
