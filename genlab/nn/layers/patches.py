"""Square patches of images as vectors: random ones for training, all of them for encoding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlab.core import rng


def random_patches(image: Tensor, side: int, count: int) -> Tensor:
    """`count` patches at random positions of each image (N, C, H, W): (N·count, C·side²), one image after another.

    The entries of a patch are ordered as in nn.functional.unfold: channel, row, column.
    """
    n, channels, height, width = image.shape
    position = rng.uniform(n, count, 2, like=image)
    row = (position[..., 0] * (height - side + 1)).long()
    column = (position[..., 1] * (width - side + 1)).long()
    corner = row * width + column  # (n, count): a patch's first pixel in the image as a vector
    plane, reach = torch.arange(channels, device=image.device), torch.arange(side, device=image.device)
    offset = (plane[:, None, None] * height + reach[:, None]) * width + reach  # (channels, side, side)
    index = (corner[..., None] + offset.flatten()).flatten(1)
    return image.flatten(1).gather(1, index).view(n * count, channels * side**2)


def all_patches(image: Tensor, side: int, stride: int) -> tuple[Tensor, tuple[int, int]]:
    """All patches of each image, `stride` apart: (N, rows·columns, C·side²), and (rows, columns)."""
    positions = tuple((length - side) // stride + 1 for length in image.shape[2:])
    return nn.functional.unfold(image, side, stride=stride).transpose(1, 2), (positions[0], positions[1])


def normalize_contrast(patches: Tensor, floor: float) -> Tensor:
    """Subtract the mean of each patch and divide by √(variance + floor), so that flat patches stay small."""
    centered = patches - patches.mean(-1, keepdim=True)
    return centered / (centered.square().sum(-1, keepdim=True) / (patches.shape[-1] - 1) + floor).sqrt()


def sum_quadrants(maps: Tensor) -> Tensor:
    """Maps (N, rows, columns, K) summed over their four quadrants: (N, 4K). Odd sizes are split before the middle."""
    top, left = maps.shape[1] // 2, maps.shape[2] // 2
    halves = maps[:, :top], maps[:, top:]
    return torch.cat([part.sum((1, 2)) for half in halves for part in (half[:, :, :left], half[:, :, left:])], dim=1)
