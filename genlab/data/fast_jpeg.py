"""JPEGs by simplejpeg, if it is installed: libjpeg-turbo without Pillow's copies, so the same pixels in less time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

MODES = {"YCbCr": ("RGBX", 3), "Gray": ("L", 1)}  # Pillow's mode that shares the decoded bytes, and its channels
# Pillow reads these: EXIF and XMP may turn the image, a multi-picture file (MPO) has a format of its own
LEFT_TO_PILLOW = (b"Exif\0\0", b"http://ns.adobe.com/xap/", b"MPF\0")
SCALES = (8, 4, 2, 1)  # Pillow's: a JPEG is decoded at 1 / scale


@dataclass(frozen=True)
class Reduced:
    image: Image
    scale: float  # its size relative to the whole, before rounding up


@cache
def _simplejpeg() -> ModuleType | None:
    try:
        import simplejpeg
    except ImportError:
        return None
    module: ModuleType = simplejpeg
    return module


def size(data: bytes, channels: int) -> tuple[int, int] | None:
    """Width and height of a JPEG that `reduced` can decode: upright, with as many channels; None for other bytes."""
    library = _simplejpeg()
    if library is None or not data.startswith(b"\xff\xd8\xff") or any(mark in data for mark in LEFT_TO_PILLOW):
        return None
    try:
        height, width, space, _ = library.decode_jpeg_header(data)
    except ValueError:
        return None
    return (width, height) if MODES.get(space, ("", 0))[1] == channels else None


def reduced(data: bytes, width: int, height: int, headroom: tuple[int, int], channels: int) -> Reduced | None:
    """The JPEG at the scale that Pillow's `draft(None, headroom)` chooses, in mode RGBX or L; None if it is damaged."""
    from PIL import Image

    library = _simplejpeg()
    assert library is not None
    scale = next(s for s in SCALES if s <= max(1, min(width // headroom[0], height // headroom[1])))
    mode = "L" if channels == 1 else "RGBX"
    try:
        pixels = library.decode_jpeg(
            data, "GRAY" if channels == 1 else mode, min_height=-(-height // scale), min_width=-(-width // scale)
        )
    except ValueError:  # Pillow says why
        return None
    shared = Image.frombuffer(mode, (pixels.shape[1], pixels.shape[0]), pixels, "raw", mode, 0, 1)
    return Reduced(shared, 1 / scale)
