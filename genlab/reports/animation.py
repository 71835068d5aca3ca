"""Frames as an animation: GIF and WebP by Pillow, MP4 by PyAV, which the extra `film` installs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from genlab.core.values import Image
from genlab.errors import ConfigError

QUALITY = {"crf": "16", "preset": "medium"}  # of x264: small images have sharp edges


def animation(frames: Sequence[Image], fps: int, kind: str) -> bytes:
    """Frames of equal size as an animation of `fps` frames per second, a "gif", "webp" or "mp4" file.

    GIF and WebP repeat without end. ConfigError for "mp4" without PyAV.
    """
    arrays = [frame.pixels.permute(1, 2, 0).contiguous().numpy() for frame in frames]
    return _video(arrays, fps) if kind == "mp4" else _pictures(arrays, fps, kind)


def _pictures(arrays: Sequence[np.ndarray], fps: int, kind: str) -> bytes:
    import PIL.Image

    images = [PIL.Image.fromarray(a[:, :, 0] if a.shape[2] == 1 else a) for a in arrays]
    buffer = io.BytesIO()
    # to the millisecond, as WebP counts; a GIF rounds to hundredths. WebP without loss: small images have sharp edges
    images[0].save(
        buffer, kind.upper(), save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0,
        **({"lossless": True} if kind == "webp" else {}),
    )  # fmt: skip
    return buffer.getvalue()


def require_video() -> None:
    """ConfigError if PyAV is not installed."""
    try:
        import av  # noqa: F401
    except ImportError:
        raise ConfigError("PyAV, which writes MP4 files, is not installed", "key out", "pip install 'genlab[film]', or "
                          "give a .gif or .webp") from None  # fmt: skip


def _video(arrays: Sequence[np.ndarray], fps: int) -> bytes:
    """H.264 with a quarter of the colors' resolution, as all players take it: even sides, padded with white."""
    require_video()
    import av

    height, width, _ = arrays[0].shape
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=Fraction(fps), options=QUALITY)
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        for array in arrays:
            rgb = np.broadcast_to(array, (height, width, 3))
            padded = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), constant_values=255)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(padded, "rgb24")))
        file.mux(stream.encode())
    return buffer.getvalue()
