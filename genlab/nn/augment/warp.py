"""Affine transforms of images, twice differentiable with respect to the image.

torch cannot differentiate the gradient of `grid_sample`. But `grid_sample` is linear in the image: its gradient is the
transposed map, and the gradient of that is the map itself (as in Karras et al., arXiv:2006.06676).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

Padding = Literal["zeros", "reflection"]
MODES = {"zeros": 0, "reflection": 2}  # as torch numbers them


def warp(image: Tensor, matrix: Tensor, padding: Padding = "reflection", spread: Tensor | None = None) -> Tensor:
    """Images (N, C, H, W), any range, sampled at the positions that `matrix` (N, 2, 3) maps each pixel to; float32.

    A position is (x, y, 1), in pixels from the center of the image. Values between pixels are interpolated. If `spread`
    (N,) is 1, a pixel is the mean of four positions inside it, half a pixel apart, against aliasing in smaller images;
    if it is 0 (None: for all images), a pixel is sampled at its center, and shifts by whole pixels are exact.
    """
    n, _, height, width = image.shape
    positions = _positions(height, width, spread, n, image.device)
    moved = positions @ matrix[:, :, :2].mT + matrix[:, None, :, 2]
    grid = torch.stack([moved[..., 0] * (2 / width), moved[..., 1] * (2 / height)], -1)
    finer = 1 if spread is None else 2
    sampled: Tensor = _Sample.apply(image.float(), grid.view(n, finer * height, finer * width, 2), MODES[padding])
    return sampled if spread is None else avg_pool2d(sampled, 2)


def _positions(height: int, width: int, spread: Tensor | None, n: int, device: torch.device) -> Tensor:
    """Pixel centers (1, H·W, 2) relative to the image center, or four positions in each, (N, 2H·2W, 2), row by row."""
    y = torch.arange(height, device=device) - (height - 1) / 2
    x = torch.arange(width, device=device) - (width - 1) / 2
    if spread is None:
        return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).view(1, -1, 2)
    quarter = (torch.arange(2, device=device) / 2 - 0.25) * spread[:, None]  # (N, 2)
    y = (y[None, :, None] + quarter[:, None]).flatten(1)
    x = (x[None, :, None] + quarter[:, None]).flatten(1)
    full = (n, len(y[0]), len(x[0]))
    return torch.stack([x[:, None, :].expand(full), y[:, :, None].expand(full)], -1).flatten(1, 2)


class _Sample(torch.autograd.Function):
    """grid_sample, bilinear, without gradients for the grid."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, grid: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape, ctx.padding = image.shape, padding
        return torch.grid_sampler_2d(image, grid, 0, padding, False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _Spread.apply(gradient, grid, ctx.shape, ctx.padding), None, None


class _Spread(torch.autograd.Function):
    """The transposed map: adds each value of a sampled image to the pixels it was interpolated from."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, grid: Tensor, shape: torch.Size, padding: int) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.padding = padding
        image = value.new_empty(1).expand(shape)  # only its shape counts
        spread: Tensor = torch.ops.aten.grid_sampler_2d_backward(
            value.contiguous(), image, grid, 0, padding, False, [True, False]
        )[0]
        return spread

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (grid,) = ctx.saved_tensors
        return _Sample.apply(gradient, grid, ctx.padding), None, None, None
