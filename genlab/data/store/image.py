"""One picture: from a file's bytes, or from pixels, to the uint8 (C, H, W) of a size that the store holds."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.uint8]

# How pixels are made, a part of every store's key: count the version up when any of them changes.
PROCESSING = {"resample": "bilinear", "jpeg_scale": "at least twice the size", "version": 1}
MAX_PIXELS = 50_000_000  # a larger header is taken for a decompression bomb
MAX_BYTES = 256 * 2**20  # nor is a longer file read
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # not EPS: it would run another program
ORIENTATION = 0x0112  # the EXIF tag


class BadImage(Exception):
    """Bytes that are no picture we can use; the message says why, the caller knows which file it was."""


@dataclass(frozen=True)
class Form:
    """How a picture becomes a row: `crop` is the side of the central square kept (None: the shorter side).

    The square is resized to `size` by an antialiased triangle filter (Pillow's and torchvision's BILINEAR). A JPEG
    may be decoded at a reduced scale that leaves twice `size`, which keeps the antialiasing's headroom. At the
    square's edges the filter sees the picture around it, as if the picture were resized first and cropped then.
    """

    size: int
    channels: int = 3
    crop: int | None = None

    @property
    def planes(self) -> int:
        """The channels of a row."""
        return self.channels


@dataclass(frozen=True)
class SideBySide(Form):
    """Two pictures in one file, beside each other: a row has the channels of the left one, then of the right one.

    Each half is cut out first, so that no filter sees the other's pixels.
    """

    @property
    def planes(self) -> int:
        return 2 * self.channels


def decode(data: bytes, form: Form) -> Pixels:
    """uint8 (planes, size, size) of an encoded picture, not to be written to; BadImage if it cannot be had.

    Alpha is dropped, 16 bits become 8.
    """
    try:
        return _decode(data, form)
    except BadImage:
        raise
    except Exception as error:  # on damaged bytes a decoder may raise anything
        said = re.sub(r" <_io\.BytesIO object at \w+>", "", str(error))  # the caller knows a name for it
        raise BadImage(f"{type(error).__name__}: {said}") from None


def _decode(data: bytes, form: Form) -> Pixels:
    from PIL import Image

    if not data:
        raise BadImage("the file is empty")
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise BadImage(f"{width}x{height} is more than {MAX_PIXELS // 10**6} million pixels")
        if min(width, height) < 2:
            raise BadImage(f"{width}x{height} is too small to be a picture")
        if isinstance(form, SideBySide):
            return _halves(image, form)
        side = min(form.crop or width, width, height)
        scaled = image.draft(None, _headroom(image.size, side, form)) if image.format == "JPEG" else None
        scale = scaled[1][2] / width if scaled else 1.0
        orientation = image.getexif().get(ORIENTATION, 1)
        left, top = (width - side) // 2 * scale, (height - side) // 2 * scale
        square = (left, top, left + side * scale, top + side * scale)
        row = resize(_in_mode(image, form), form.size, square)
    return row if orientation == 1 else _upright(row, orientation)


def _halves(image: Image.Image, form: SideBySide) -> Pixels:
    """The central squares of the left and of the right half, one above the other in channels."""
    width, height = image.size
    if width % 2:
        raise BadImage(f"{width}x{height} cannot be cut into two equal halves")
    if image.getexif().get(ORIENTATION, 1) != 1:
        raise BadImage("a camera's rotation mark makes it unclear which half is the left one")
    half, whole = width // 2, _in_mode(image, form)
    side = min(form.crop or half, half, height)
    left, top = (half - side) / 2, (height - side) / 2
    square = (left, top, left + side, top + side)
    return np.concatenate([resize(whole.crop((x, 0, x + half, height)), form.size, square) for x in (0, half)])


def _in_mode(image: Image.Image, form: Form) -> Image.Image:
    eight_bit, mode = _eight_bit(image), "L" if form.channels == 1 else "RGB"
    return eight_bit if eight_bit.mode == mode else eight_bit.convert(mode)


def _headroom(size: tuple[int, int], side: int, form: Form) -> tuple[int, int]:
    """The whole picture's size at which its central square is still twice what it is to become."""
    return max(1, size[0] * 2 * form.size // side), max(1, size[1] * 2 * form.size // side)


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey scaled to 8 bits (Pillow's own conversion would clip it)."""
    from PIL import Image

    if not image.mode.startswith("I"):
        if image.mode == "F":
            raise BadImage("floating-point pixels have no known range")
        return image
    deep = np.asarray(image.convert("I"))
    if deep.min() < 0 or deep.max() > 65535:
        raise BadImage("32-bit pixels have no known range")
    return Image.fromarray(((deep + 128) // 257).astype(np.uint8))


def _upright(row: Pixels, orientation: int) -> Pixels:
    """Undo a camera's rotation (EXIF 1 to 8) on a square (C, S, S)."""
    if orientation in (5, 6, 7, 8):
        row = row.transpose(0, 2, 1)
    if orientation in (3, 4, 7, 8):
        row = row[:, ::-1]
    if orientation in (2, 3, 6, 7):
        row = row[:, :, ::-1]
    return row


def resize(image: Image.Image, size: int, square: tuple[float, float, float, float] | None = None) -> Pixels:
    """The `square` of a grey or RGB image as uint8 (C, size, size), by an antialiased triangle filter."""
    from PIL import Image

    square_image = image.resize((size, size), Image.Resampling.BILINEAR, box=square)
    pixels = np.frombuffer(square_image.tobytes(), np.uint8)  # in half the time of Pillow's array interface
    return pixels.reshape(size, size, -1).transpose(2, 0, 1)


def resize_all(images: Pixels, size: int | None) -> Pixels:
    """Grey images (N, 1, H, W), their central squares resized to (N, 1, size, size); None leaves them as they are."""
    from PIL import Image

    n, _, height, width = images.shape
    if size is None or (height, width) == (size, size):
        return images
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    square = (left, top, left + side, top + side)
    rows = np.empty((n, 1, size, size), np.uint8)
    for row, image in zip(rows, images, strict=True):
        row[:] = resize(Image.fromarray(image[0]), size, square)
    return rows
