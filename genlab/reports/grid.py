"""Image grids: many small images in one."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.core.model import Model
from genlab.core.sampling import classes_in_turn
from genlab.core.values import Image
from genlab.utils.image_file import as_bytes

PAPER = 255  # uint8 value of the gaps between images
SIDE = 64  # pixels: smaller images are enlarged
MOST_CLASSES = 20  # that can have a column each


def columns_for(n: int, columns: int | None) -> int:
    """The columns of a grid of `n` images, at most `columns`; None: nearly square."""
    return min(n, columns or int((n - 1) ** 0.5) + 1)


def image_grid(
    images: Tensor, columns: int | None = None, gap: int = 2, side: int = SIDE, scale: int = 1, foot: int = 0
) -> Image:
    """Images (N, C, H, W) in [0, 1], C 1 or 3, in rows of `columns` (None: nearly square), as uint8.

    Images less than `side` pixels high are enlarged by a whole factor, so that 8-pixel digits can be seen: a
    pixel becomes a square of pixels; then all by `scale`. `gap` white pixels stand around each image, and `foot` more
    below it.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise ValueError(f"a grid takes images (N, 1 or 3, H, W), not {tuple(images.shape)}")
    pixels = as_bytes(images)
    factor = max(1, side // pixels.shape[2]) * scale
    pixels = pixels.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
    n, channels, height, width = pixels.shape
    columns = columns_for(n, columns)
    rows, down = -(-n // columns), height + foot + gap
    sheet = torch.full((channels, gap + rows * down, gap + columns * (width + gap)), PAPER, dtype=torch.uint8)
    for i, image in enumerate(pixels):
        top = gap + i // columns * down
        left = gap + i % columns * (width + gap)
        sheet[:, top : top + height, left : left + width] = image
    return Image(sheet)


def are_images(images: Tensor) -> bool:
    """Whether (N, C, H, W) can be shown as images; points, images of one pixel, are shown by the evaluator `points`."""
    return images.shape[2:] != (1, 1)


def class_columns(model: Model, n: int) -> int | None:
    """The columns of a grid of `n` samples of a model that cycles through its classes: as `columns_of_classes`."""
    return columns_of_classes(classes_in_turn(model), n)


def columns_of_classes(classes: int | None, n: int) -> int | None:
    """The columns of a grid of `n` images whose classes take turns, so that each column has one class: every class
    once, or several times if that makes the grid nearly square.

    None if there are no classes, or too many for a row.
    """
    if not classes or classes > min(n, MOST_CLASSES):
        return None
    return classes * max(1, int(n**0.5) // classes)
