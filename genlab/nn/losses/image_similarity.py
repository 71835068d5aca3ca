"""How alike two images are: (N,) for images (N, C, H, W) in [0, 1], in float32, larger being more alike."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d

C1, C2 = 0.01**2, 0.03**2  # keep the quotients of flat places finite


def psnr(image: Tensor, other: Tensor) -> Tensor:
    """Peak signal to noise ratio in decibel: −10 log₁₀ of the mean squared error; at most 100."""
    error = (image.float() - other.float()).square().flatten(1).mean(1)
    return -10 * error.clamp(min=1e-10).log10()


def ssim(image: Tensor, other: Tensor) -> Tensor:
    """Structural similarity, the mean over places and channels, in [-1, 1]; 1 for equal images.

    Gaussian window of 11 pixels and σ 1.5, only where it lies wholly inside; in an image that is smaller the window
    is the largest of odd side that fits. Wang, Bovik, Sheikh & Simoncelli, IEEE Trans. Image Processing 13 (2004).
    """
    side = min(11, *image.shape[2:])
    side -= 1 - side % 2
    place = torch.arange(side, device=image.device) - side // 2
    window = torch.exp(-place.square() / (2 * 1.5**2))
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
