"""One image: from the bytes of a file, or from pixels, to uint8 (C, H, W) of the size in the store."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genlab.data import fast_jpeg

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.uint8]

# How pixels are computed, a part of the key of every store: increment the version with any change.
PROCESSING = {"resample": "bilinear", "jpeg_scale": "at least twice the size", "version": 1}
MAX_PIXELS = 50_000_000  # a larger image is taken for a decompression bomb
MAX_BYTES = 256 * 2**20  # a longer file is not read
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # not EPS: it would run another program
ORIENTATION = 0x0112  # the EXIF tag
TURNED = (5, 6, 7, 8)  # its values for an image that lies on its side


class BadImage(Exception):
    """Bytes that cannot be decoded; the message says why, the caller knows which file it was."""


@dataclass(frozen=True)
class Form:
    """How an encoded image is decoded: `crop` is the side of the central square (None: the shorter side).

    With `width`, the image becomes `size` pixels high and `width` wide, cut from the largest central rectangle of that
    shape. The filter is an antialiased triangle (BILINEAR of Pillow and torchvision). A JPEG may be decoded at a
    reduced scale of at least twice `size`, which leaves room for antialiasing. At the edges of the square the filter
    sees the image around it, as if the image were resized first and then cropped.
    """

    size: int
    channels: int = 3
    crop: int | None = None
    width: int | None = None

    @property
    def target(self) -> tuple[int, int]:
        """Width and height of the decoded image."""
        return self.width or self.size, self.size

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


@dataclass(frozen=True)
class Part:
    """The central rectangle, `box_width` by `box_height`, of an image of `width` by `height` that becomes `target`."""

    width: int
    height: int
    box_width: int
    box_height: int
    target: tuple[int, int]

    @classmethod
    def of(cls, form: Form, target: tuple[int, int], width: int, height: int) -> Part:
        box_width = min(form.crop or width, width, height * target[0] // target[1])
        box_height = min(form.crop or height, height, width * target[1] // target[0])
        return cls(width, height, box_width, box_height, target)

    @property
    def headroom(self) -> tuple[int, int]:
        """The size of the whole image at which the rectangle is twice the target."""
        width, height = self.target
        return max(1, self.width * 2 * width // self.box_width), max(1, self.height * 2 * height // self.box_height)

    def box(self, scale: float) -> tuple[float, float, float, float]:
        """The rectangle in the image decoded at `scale`."""
        left, top = (self.width - self.box_width) // 2 * scale, (self.height - self.box_height) // 2 * scale
        return left, top, left + self.box_width * scale, top + self.box_height * scale


def decode(data: bytes, form: Form) -> Pixels:
    """An encoded image as uint8 (planes, height, width), read-only; BadImage if it cannot be decoded.

    Alpha is dropped, 16 bits are reduced to 8.
    """
    try:
        return _decode(data, form)
    except BadImage:
        raise
    except Exception as error:  # a decoder may raise anything on damaged bytes
        reason = re.sub(r" <_io\.BytesIO object at \w+>", "", str(error))  # the caller names the file
        raise BadImage(f"{type(error).__name__}: {reason}") from None


def size_of(data: bytes) -> tuple[int, int]:
    """The (width, height) of an encoded image; BadImage if its header is damaged."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.size
    except Exception as error:  # as in `decode`
        raise BadImage(type(error).__name__) from None


def _decode(data: bytes, form: Form) -> Pixels:
    from PIL import Image

    if not data:
        raise BadImage("the file is empty")
    if not isinstance(form, SideBySide) and (found := fast_jpeg.size(data, form.channels)):
        _check_size(*found)
        part = Part.of(form, form.target, *found)
        if fast := fast_jpeg.reduced(data, *found, part.headroom, form.channels):
            return resize(fast.image, form.target, part.box(fast.scale))[: form.channels]
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _check_size(*image.size)
        if isinstance(form, SideBySide):
            return _halves(image, form)
        orientation = image.getexif().get(ORIENTATION, 1)
        target = form.target[::-1] if orientation in TURNED else form.target
        part = Part.of(form, target, *image.size)
        scaled = image.draft(None, part.headroom) if image.format == "JPEG" else None
        scale = scaled[1][2] / part.width if scaled else 1.0
        pixels = resize(in_mode(image, form.channels), target, part.box(scale))
    return pixels if orientation == 1 else _upright(pixels, orientation)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise BadImage(f"{width}x{height} is more than {MAX_PIXELS // 10**6} million pixels")
    if min(width, height) < 2:
        raise BadImage(f"{width}x{height} is too small")


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
    return np.concatenate([resize(whole.crop((x, 0, x + half, height)), form.target, square) for x in (0, half)])


def in_mode(image: Image.Image, channels: int) -> Image.Image:
    """The image in mode L or RGB; BadImage if the range of its pixels is unknown."""
    eight_bit, mode = _eight_bit(image), "L" if channels == 1 else "RGB"
    return eight_bit if eight_bit.mode == mode else eight_bit.convert(mode)


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
    """Apply the EXIF orientation (1 to 8) to an image (C, H, W)."""
    if orientation in TURNED:
        pixels = pixels.transpose(0, 2, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[:, ::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, :, ::-1]
    return pixels


def resize(image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float] | None = None) -> Pixels:
    """The `box` of a gray or RGB image, of (width, height) `size`, as uint8 (C, H, W), antialiased by a triangle."""
    from PIL import Image

    resized = image.resize(size, Image.Resampling.BILINEAR, box=box)
    pixels = np.frombuffer(resized.tobytes(), np.uint8)  # half the time of Pillow's array interface
    return pixels.reshape(size[1], size[0], -1).transpose(2, 0, 1)


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
        out[:] = resize(Image.fromarray(pixels), (size, size), square)
    return resized
