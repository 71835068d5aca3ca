"""PSNR and SSIM of pairs of images: (N,) in float32 for images (N, C, H, W) in [0, 1]; larger is more similar."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d

C1, C2 = 0.01**2, 0.03**2  # keep the quotients of flat regions finite


def psnr(image: Tensor, other: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in decibels: −10 log₁₀ of the mean squared error, at most 100."""
    error = (image.float() - other.float()).square().flatten(1).mean(1)
    return -10 * error.clamp(min=1e-10).log10()


def ssim(image: Tensor, other: Tensor) -> Tensor:
    """Structural similarity (SSIM), averaged over positions and channels, in [-1, 1]; 1 for equal images.

    The Gaussian window has 11 pixels and σ 1.5, without padding; in a smaller image it has the largest odd side that
    fits. Wang, Bovik, Sheikh & Simoncelli, IEEE Trans. Image Processing 13 (2004).
    """
    side = min(11, *image.shape[2:])
    side -= 1 - side % 2
    position = torch.arange(side, device=image.device) - side // 2
    window = torch.exp(-position.square() / (2 * 1.5**2))
    window = torch.outer(window, window)
    window = (window / window.sum())[None, None]

    def local(x: Tensor) -> Tensor:
        return conv2d(x.flatten(0, 1)[:, None], window)

    x, y = image.float(), other.float()
    mean_x, mean_y = local(x), local(y)
    variance_x, variance_y = local(x * x) - mean_x.square(), local(y * y) - mean_y.square()
    covariance = local(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x.square() + mean_y.square() + C1)
    structure = (2 * covariance + C2) / (variance_x + variance_y + C2)
    return (luminance * structure).unflatten(0, image.shape[:2]).flatten(1).mean(1)
