"""Grids of images with words around them: a caption, names of rows and columns, words below images, frames."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from genlab.core.values import Image
from genlab.reports.grid import SIDE, columns_for, image_grid
from genlab.utils.terminal import printable

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage
    from PIL.ImageFont import FreeTypeFont, ImageFont

INK, MARK = (40, 40, 40), (204, 51, 17)
LARGE, SMALL = 13, 9  # pixels: text, and the least that it is reduced to where it must fit
PAD = 4  # pixels between words and images
LONG = 80  # characters of a name that are shown


@dataclass(frozen=True)
class Labels:
    """Words around a grid: a `caption` above all, `rows` left of each row, `columns` above each column, `below` each
    image. Images of the numbers `marked` get a red frame."""

    caption: str = ""
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()
    below: Sequence[str] = ()
    marked: Collection[int] = ()


def labeled_grid(
    images: Tensor, columns: int | None, labels: Labels, gap: int = 2, side: int = SIDE, scale: int = 1
) -> Image:
    """As `image_grid`, `scale` times as large, with words around it; without any it is the plain grid."""
    if not (labels.caption or labels.rows or labels.columns or labels.below or labels.marked):
        return image_grid(images, columns, gap, side, scale)
    from PIL.ImageDraw import Draw

    columns = columns_for(len(images), columns)
    height, width = (max(1, side // images.shape[2]) * scale * length for length in images.shape[2:])
    lower = _Text(labels.below, scale, width + gap)
    frame = max(1, gap // 2) if labels.marked else 0
    foot = lower.height + PAD + frame if labels.below else 0
    sheet = image_grid(images, columns, gap, side, scale, foot).pixels
    above = _Text(labels.columns, scale, width)
    left = _Text(labels.rows, scale)
    margin = left.width + 2 * PAD if labels.rows else 0
    caption = _Text(_wrapped(labels.caption, scale, margin + sheet.shape[2]), scale)
    head = caption.height * len(caption.words) + PAD if labels.caption else 0
    top = head + (above.height + PAD if labels.columns else 0)
    canvas = _canvas(sheet, top, margin)
    draw = Draw(canvas)
    for line, word in enumerate(caption.words):
        draw.text((PAD, PAD + line * caption.height), word, fill=INK, font=caption.font)
    for column, word in enumerate(above.words):
        above.paste(canvas, word, margin + gap + column * (width + gap) + width // 2, top - PAD // 2)
    for row, word in enumerate(left.words):
        middle = top + gap + row * (height + foot + gap) + height // 2
        draw.text((margin - PAD, middle), word, fill=INK, font=left.font, anchor="rm")
    for i in range(len(images)):
        x, y = margin + gap + i % columns * (width + gap), top + gap + i // columns * (height + foot + gap)
        if i in labels.marked:
            edges = x - frame, y - frame, x + width + frame - 1, y + height + frame - 1
            draw.rectangle(edges, outline=MARK, width=frame)
        if i < len(lower.words):
            place = (x + width // 2, y + height + frame + PAD // 2)
            draw.text(place, lower.words[i], fill=MARK if i in labels.marked else INK, font=lower.font, anchor="mt")
    return Image(torch.from_numpy(np.asarray(canvas).transpose(2, 0, 1).copy()))


class _Text:
    """Words in one size: as large as is usual, or smaller if the widest would not fit into `room` pixels; if even the
    smallest is too wide, they are turned."""

    def __init__(self, words: Sequence[str], scale: int, room: float = float("inf")) -> None:
        self.words = [printable(word)[:LONG] for word in words]
        sizes = range(LARGE * scale, SMALL * scale - 1, -1)
        fitting = (size for size in sizes if self._widest(_font(size)) <= room)
        self.turned = not (size := next(fitting, 0))
        self.font = _font(size or LARGE * scale)
        self.line = sum(_metrics(self.font))
        self.width = self._widest(self.font)
        self.height = self.width if self.turned else self.line

    def _widest(self, font: FreeTypeFont | ImageFont) -> int:
        return max((round(font.getlength(word) + 0.5) for word in self.words), default=0)

    def paste(self, canvas: PILImage, word: str, middle: int, bottom: int) -> None:
        """Write a word that ends at `bottom` and is centered at `middle`."""
        import PIL.Image
        from PIL.ImageDraw import Draw

        if not self.turned:
            Draw(canvas).text((middle, bottom), word, fill=INK, font=self.font, anchor="md")
            return
        strip = PIL.Image.new("RGB", (self.width, self.line), "white")
        Draw(strip).text((0, self.line), word, fill=INK, font=self.font, anchor="ld")
        canvas.paste(strip.rotate(90, expand=True), (middle - self.line // 2, bottom - self.width))


def _font(size: int) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _metrics(font: FreeTypeFont | ImageFont) -> tuple[int, int]:
    """Pixels above and below the base line."""
    return font.getmetrics() if hasattr(font, "getmetrics") else (LARGE, PAD)


def _canvas(sheet: Tensor, top: int, left: int) -> PILImage:
    """A white RGB image with room above and left of the grid (C, H, W)."""
    import PIL.Image

    pixels = sheet.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
    canvas = PIL.Image.new("RGB", (left + pixels.shape[1], top + pixels.shape[0]), "white")
    canvas.paste(PIL.Image.fromarray(pixels), (left, top))
    return canvas


def _wrapped(text: str, scale: int, width: int) -> list[str]:
    """The words of a caption in lines of `width` pixels; a longer word has a line of its own."""
    font, lines = _font(LARGE * scale), list[str]()
    for word in printable(text).split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width - 2 * PAD:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
