"""Contents of files made to harm: bombs, pickles that create a file, headers that lie."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.support import synthetic

CANARY = "canary"


class Touch:
    """A pickle of it creates a file."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (CANARY, "w")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int = 8, colors: int = 0, *more: bytes) -> bytes:
    """A PNG of black pixels, highly compressed: a bomb if it is large."""
    row = 1 + (width * depth * {0: 1, 2: 3, 6: 4}[colors] + 7) // 8
    packer, data = zlib.compressobj(9), b""
    for start in range(0, row * height, 2**20):
        data += packer.compress(bytes(min(2**20, row * height - start)))
    header = struct.pack(">IIBBBBB", width, height, depth, colors, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(more)
        + chunk(b"IDAT", data + packer.flush())
        + chunk(b"IEND", b"")
    )


def written(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def npy(header: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", min(len(header), 65535)) + header.encode()[:65535] + data


def pickled_array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([Touch()], dtype=object), allow_pickle=True)
    return out.getvalue()


def zipped(entries: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return out.getvalue()


def shaped(shape: str) -> str:
    return f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}\n"


HUGE = b'{"image":{"dtype":"U8","shape":[10000000000],"data_offsets":[0,1]}}'
ZEROS = bytes(2**28)
PAYLOADS: dict[str, Callable[[], bytes]] = {
    "a pickle": lambda: pickle.dumps(Touch()),
    "a pickled array": pickled_array,
    "a pickled array in a zip": lambda: zipped({"image.npy": pickled_array(), "label.npy": pickled_array()}),
    "a torch archive": lambda: zipped({"archive/data.pkl": pickle.dumps(Touch()), "archive/version": b"3"}),
    "a zip that leads out": lambda: zipped({"../canary": b"x", "/tmp/canary-of-the-harness": b"x", "image.npy": b""}),
    "a zip bomb": lambda: zipped({"image.npy": npy(shaped("(4194304, 1, 8, 8)")) + ZEROS}),
    "a gzip bomb": lambda: gzip.compress(ZEROS * 4, 1),
    "an array of huge shape": lambda: npy(shaped("(10000000000, 1, 8, 8)")),
    "an array of negative shape": lambda: npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 1, 8, 8)}\n",
    bytes(64)),
    "a header of brackets": lambda: npy("(" * 60000 + "\n"),
    "a header of code": lambda: npy("__import__('os').system('touch canary')\n"),
    "objects": lambda: npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n", pickle.dumps(Touch())),
    "a safetensors header of 2**63": lambda: struct.pack("<Q", 2**63) + b"{}",
    "a safetensors header of 100 MB": lambda: struct.pack("<Q", 10**8) + b"{}" + b" " * (10**8 - 2),
    "a tensor of huge shape": lambda: struct.pack("<Q", 72) + HUGE.ljust(72),
    "a PNG of 60000x60000": lambda: b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR",
    struct.pack(">IIBBBBB", 60000, 60000, 1, 0, 0, 0, 0)),
    "a PNG of 12000x12000": lambda: png(12000, 12000, 1),
    "a PNG of 7000x7000": lambda: png(7000, 7000, 1),
    "a PNG of 7000x7000 in 16 bits": lambda: png(7000, 7000, 16),
    "a PNG of 7000x7000 in colors and 16 bits": lambda: png(7000, 7000, 16, 2),
    "a PNG of 2000000x20": lambda: png(2000000, 20, 8, 2),
    "a PNG of no size": lambda: png(0, 0),
    "a PNG with a bomb of text": lambda: png(30, 30, 8, 0, chunk(b"zTXt", b"a\0\0" + zlib.compress(ZEROS, 9))),
    "a PNG with a bomb of a profile": lambda: png(30, 30, 8, 0, chunk(b"iCCP", b"a\0\0" + zlib.compress(ZEROS, 9))),
    "a JPEG of 65500x65500": lambda: synthetic.encoded(synthetic.photo(0)).replace(struct.pack(">HH", 50, 40),
    struct.pack(">HH", 65500, 65500)),
    "a GIF of 65000x65000": lambda: b"GIF89a" + struct.pack("<HHBBB", 65000, 65000, 0, 0,
    0) + b",\0\0\0\0\0\0\0\0\0\2\0;",
    "a WebP of 7000x7000": lambda: written(Image.new("L", (7000, 7000)), "WEBP", quality=1, method=0),
    "a TIFF of 7000x7000": lambda: written(Image.new("L", (7000, 7000)), "TIFF", compression="tiff_adobe_deflate"),
    "a TIFF of floats": lambda: written(Image.new("F", (30, 30)), "TIFF"),
    "a PPM of 10**9 pixels": lambda: b"P6 100000 10000 255\n",
    "a PPM of endless digits": lambda: b"P6 " + b"9" * 10**6 + b" 1 255\n",
    "a BMP of 2**31 pixels": lambda: b"BM" + struct.pack("<IIIIiiHHIIiiII", 100, 0, 54, 40, 65535, 32768, 1, 24, 0, 0,
    0, 0, 0, 0),
    "PostScript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(canary) (w) file closefile\nshowpage\n",
    "an SVG": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "a program": lambda: b"#!/bin/sh\ntouch canary\n",
    "an IDX file of 2**32 images": lambda: struct.pack(">IIII", 0x803, 2**32 - 1, 28, 28),
    "an IDX file of 2**32 images, packed": lambda: gzip.compress(struct.pack(">IIII", 0x803, 2**32 - 1, 28, 28)),
    "a MATLAB file of objects": lambda: b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 14,
    2**31 - 1),
}  # fmt: skip
