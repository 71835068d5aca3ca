"""Image grids: many small images in one, and their PNG files and animations."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from torch import Tensor

from genlab.core.model import Model
from genlab.core.sampling import classes_in_turn
from genlab.core.values import Image
from genlab.utils.image_file import as_bytes

PAPER = 255  # uint8 value of the gaps between images


def image_grid(images: Tensor, columns: int | None = None, gap: int = 2, side: int = 64) -> Image:
    """Images (N, C, H, W) in [0, 1], C 1 or 3, in rows of `columns` (None: nearly square), as uint8.

    Images less than `side` pixels high are enlarged by a whole factor, so that 8-pixel digits can be seen: a
    pixel becomes a square of pixels. `gap` white pixels stand around each image.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise ValueError(f"a grid takes images (N, 1 or 3, H, W), not {tuple(images.shape)}")
    pixels = as_bytes(images)
    factor = max(1, side // pixels.shape[2])
    pixels = pixels.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
    n, channels, height, width = pixels.shape
    columns = min(n, columns or int((n - 1) ** 0.5) + 1)
    rows = -(-n // columns)
    sheet = torch.full((channels, gap + rows * (height + gap), gap + columns * (width + gap)), PAPER, dtype=torch.uint8)
    for i, image in enumerate(pixels):
        top = gap + i // columns * (height + gap)
        left = gap + i % columns * (width + gap)
        sheet[:, top : top + height, left : left + width] = image
    return Image(sheet)


def are_images(images: Tensor) -> bool:
    """Whether (N, C, H, W) can be shown as images; points, images of one pixel, are shown by the evaluator `points`."""
    return images.shape[2:] != (1, 1)


def class_columns(model: Model, n: int) -> int | None:
    """The columns of a grid of `n` samples of a model that cycles through its classes: one column per class.

    None if the model takes no class, or has more classes than images.
    """
    classes = classes_in_turn(model)
    return classes if classes and classes <= n else None


def animation(frames: Sequence[Image], fps: int, kind: str) -> bytes:
    """Frames of equal size as an endless animation of `fps` frames per second, a "gif" or "webp" file."""
    import PIL.Image

    arrays = [frame.pixels.permute(1, 2, 0).contiguous().numpy() for frame in frames]
    images = [PIL.Image.fromarray(a[:, :, 0] if a.shape[2] == 1 else a) for a in arrays]
    buffer = io.BytesIO()
    # to the millisecond, as WebP counts; a GIF rounds to hundredths. WebP without loss: small images have sharp edges
    images[0].save(
        buffer, kind.upper(), save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0,
        **({"lossless": True} if kind == "webp" else {}),
    )  # fmt: skip
    return buffer.getvalue()
