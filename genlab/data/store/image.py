"""One image: from the bytes of a file, or from pixels, to uint8 (C, H, W) of the size in the store."""

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

# How pixels are computed, a part of the key of every store: increment the version with any change.
PROCESSING = {"resample": "bilinear", "jpeg_scale": "at least twice the size", "version": 1}
MAX_PIXELS = 50_000_000  # a larger image is taken for a decompression bomb
MAX_BYTES = 256 * 2**20  # a longer file is not read
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # not EPS: it would run another program
ORIENTATION = 0x0112  # the EXIF tag


class BadImage(Exception):
    """Bytes that cannot be decoded; the message says why, the caller knows which file it was."""


@dataclass(frozen=True)
class Form:
    """How an encoded image is decoded: `crop` is the side of the central square (None: the shorter side).

    The square is resized to `size` with an antialiased triangle filter (BILINEAR of Pillow and torchvision). A JPEG may
    be decoded at a reduced scale of at least twice `size`, which leaves room for antialiasing. At the edges of the
    square the filter sees the image around it, as if the image were resized first and then cropped.
    """

    size: int
    channels: int = 3
    crop: int | None = None

    @property
    def planes(self) -> int:
        """The channels in the store."""
        return self.channels


@dataclass(frozen=True)
class SideBySide(Form):
    """Two images side by side in one file, stored as the channels of the left one, then of the right one.

    Each half is cut out first, so that no filter sees pixels of the other.
    """

    @property
    def planes(self) -> int:
        return 2 * self.channels


def decode(data: bytes, form: Form) -> Pixels:
    """An encoded image as uint8 (planes, size, size), read-only; BadImage if it cannot be decoded.

    Alpha is dropped, 16 bits are reduced to 8.
    """
    try:
        return _decode(data, form)
    except BadImage:
        raise
    except Exception as error:  # a decoder may raise anything on damaged bytes
        reason = re.sub(r" <_io\.BytesIO object at \w+>", "", str(error))  # the caller names the file
        raise BadImage(f"{type(error).__name__}: {reason}") from None


def _decode(data: bytes, form: Form) -> Pixels:
    from PIL import Image

    if not data:
        raise BadImage("the file is empty")
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise BadImage(f"{width}x{height} is more than {MAX_PIXELS // 10**6} million pixels")
        if min(width, height) < 2:
            raise BadImage(f"{width}x{height} is too small")
        if isinstance(form, SideBySide):
            return _halves(image, form)
        side = min(form.crop or width, width, height)
        scaled = image.draft(None, _headroom(image.size, side, form)) if image.format == "JPEG" else None
        scale = scaled[1][2] / width if scaled else 1.0
        orientation = image.getexif().get(ORIENTATION, 1)
        left, top = (width - side) // 2 * scale, (height - side) // 2 * scale
        square = (left, top, left + side * scale, top + side * scale)
        pixels = resize(in_mode(image, form.channels), form.size, square)
    return pixels if orientation == 1 else _upright(pixels, orientation)


def _halves(image: Image.Image, form: SideBySide) -> Pixels:
    """The central squares of the left and the right half, concatenated along channels."""
    width, height = image.size
    if width % 2:
        raise BadImage(f"{width}x{height} cannot be cut into two equal halves")
    if image.getexif().get(ORIENTATION, 1) != 1:
        raise BadImage("its rotation mark (EXIF) makes it unclear which half is the left one")
    half, whole = width // 2, in_mode(image, form.channels)
    side = min(form.crop or half, half, height)
    left, top = (half - side) / 2, (height - side) / 2
    square = (left, top, left + side, top + side)
    return np.concatenate([resize(whole.crop((x, 0, x + half, height)), form.size, square) for x in (0, half)])


def in_mode(image: Image.Image, channels: int) -> Image.Image:
    """The image in mode L or RGB; BadImage if the range of its pixels is unknown."""
    eight_bit, mode = _eight_bit(image), "L" if channels == 1 else "RGB"
    return eight_bit if eight_bit.mode == mode else eight_bit.convert(mode)


def _headroom(size: tuple[int, int], side: int, form: Form) -> tuple[int, int]:
    """The size of the whole image at which its central square is twice the target size."""
    return max(1, size[0] * 2 * form.size // side), max(1, size[1] * 2 * form.size // side)


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit gray scaled to 8 bits (Pillow's own conversion would clip it)."""
    from PIL import Image

    if not image.mode.startswith("I"):
        if image.mode == "F":
            raise BadImage("the range of floating-point pixels is unknown")
        return image
    deep = np.asarray(image.convert("I"))
    if deep.min() < 0 or deep.max() > 65535:
        raise BadImage("the range of 32-bit pixels is unknown")
    return Image.fromarray(((deep + 128) // 257).astype(np.uint8))


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply the EXIF orientation (1 to 8) to a square image (C, S, S)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(0, 2, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[:, ::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, :, ::-1]
    return pixels


def resize(image: Image.Image, size: int, square: tuple[float, float, float, float] | None = None) -> Pixels:
    """The `square` of a gray or RGB image as uint8 (C, size, size), with an antialiased triangle filter."""
    from PIL import Image

    square_image = image.resize((size, size), Image.Resampling.BILINEAR, box=square)
    pixels = np.frombuffer(square_image.tobytes(), np.uint8)  # half the time of Pillow's array interface
    return pixels.reshape(size, size, -1).transpose(2, 0, 1)


def resize_all(images: Pixels, size: int | None) -> Pixels:
    """Gray or RGB images (N, C, H, W), center squares resized to (N, C, size, size); as they are if size is None."""
    from PIL import Image

    n, channels, height, width = images.shape
    if size is None or (height, width) == (size, size):
        return images
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    square = (left, top, left + side, top + side)
    resized = np.empty((n, channels, size, size), np.uint8)
    for out, image in zip(resized, images, strict=True):
        pixels = image[0] if channels == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
        out[:] = resize(Image.fromarray(pixels), size, square)
    return resized
