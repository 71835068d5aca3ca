from __future__ import annotations

import contextlib
import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from genlab.data import fast_jpeg
from genlab.data.store.image import BadImage, Form, decode, resize_all
from tests.support.synthetic import encoded, photo


def reference(image: Image.Image, size: int, crop: int | None = None) -> np.ndarray:
    """The central square of the whole picture, decoded at full scale."""
    side = min(crop or min(image.size), *image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=square)).transpose(2, 0, 1)


@pytest.mark.parametrize(("width", "height"), [(40, 50), (51, 40), (64, 64), (9, 33)])
@pytest.mark.parametrize("size", [8, 20, 64])
def test_the_central_square_is_resized_as_pillow_does(width: int, height: int, size: int) -> None:
    image = photo(0, width, height)
    assert np.array_equal(decode(encoded(image, "PNG"), Form(size)), reference(image, size))
    assert np.array_equal(decode(encoded(image, "PNG"), Form(size, crop=30)), reference(image, size, 30))


def test_resizing_agrees_with_torchvisions_resize_and_center_crop() -> None:
    from torchvision.transforms.v2 import functional as F

    image = photo(0, 96, 64)
    theirs = F.center_crop(F.resize(image, [32]), [32, 32])
    assert (
        np.abs(decode(encoded(image, "PNG"), Form(32)).transpose(1, 2, 0) - np.asarray(theirs).astype(int)).max() <= 1
    )


def test_antialiasing_agrees_with_torch() -> None:
    import torch

    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    ours = decode(encoded(Image.fromarray(noise), "PNG"), Form(16))
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(noise).permute(2, 0, 1)[None].float(), size=(16, 16), mode="bilinear", antialias=True
    )[0]
    assert np.abs(ours - theirs.numpy()).max() <= 1.0


@pytest.mark.parametrize(("width", "height"), [(341, 256), (178, 218), (256, 600), (1000, 800)])
def test_a_jpeg_decoded_at_reduced_scale_looks_the_same(width: int, height: int) -> None:
    image = photo(1, width, height)
    data = encoded(image, "JPEG", quality=95)
    with Image.open(io.BytesIO(data)) as opened:
        whole = reference(opened.convert("RGB"), 64)
    assert np.abs(decode(data, Form(64)).astype(int) - whole).max() <= 4


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize(("width", "height"), [(341, 256), (178, 218), (40, 30), (513, 1023), (2, 9)])
def test_simplejpeg_gives_the_pixels_of_pillow(
    monkeypatch: pytest.MonkeyPatch, mode: str, width: int, height: int
) -> None:
    """At every scale, of the whole and of a crop, in color and gray; what is damaged or unusual is left to Pillow."""
    pytest.importorskip("simplejpeg")
    data = encoded(photo(2, width, height).convert(mode), "JPEG", quality=85)
    forms = [Form(size, channels, crop) for size in (8, 28, 64) for channels in (1, 3) for crop in (None, 30)]
    damaged = [data[:-200], data[:60], data + b"x", data.replace(b"\xff\xdb", b"\xff\x00")]

    def outcome(data: bytes, form: Form) -> str | bytes:
        try:
            return decode(data, form).tobytes()
        except BadImage as bad:
            return str(bad)

    fast = [outcome(each, form) for each in (data, *damaged) for form in forms]
    used = [fast_jpeg.size(data, channels) for channels in (1, 3)]
    assert used == {"L": [(width, height), None], "RGB": [None, (width, height)], "CMYK": [None, None]}[mode]
    monkeypatch.setattr(fast_jpeg, "_simplejpeg", lambda: None)
    assert fast == [outcome(each, form) for each in (data, *damaged) for form in forms]


@pytest.mark.parametrize("kind", ["xmp", "mpo"])
def test_simplejpeg_leaves_what_pillow_reads_differently(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """An orientation in XMP, and two pictures in one file, which Pillow does not decode at a reduced scale."""
    pytest.importorskip("simplejpeg")
    photos, file = [photo(number, 400, 300) for number in (0, 1)], io.BytesIO()
    if kind == "mpo":
        photos[0].save(file, "MPO", save_all=True, append_images=photos[1:])
    else:
        xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><tiff:Orientation>6</tiff:Orientation></x:xmpmeta>'
        photos[0].save(file, "JPEG", xmp=xmp)
    found = decode(file.getvalue(), Form(32, width=48))
    monkeypatch.setattr(fast_jpeg, "_simplejpeg", lambda: None)
    assert np.array_equal(found, decode(file.getvalue(), Form(32, width=48)))


def test_a_reduced_jpeg_keeps_twice_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import JpegImagePlugin

    monkeypatch.setattr(fast_jpeg, "_simplejpeg", lambda: None)

    seen: list[tuple[int, int]] = []

    original = JpegImagePlugin.JpegImageFile.draft
    monkeypatch.setattr(
        JpegImagePlugin.JpegImageFile, "draft", lambda s, m, z: (original(s, m, z), seen.append(s.size))[0]
    )
    for width, height in ((341, 256), (256, 256), (255, 400), (512, 511), (700, 1024)):
        decode(encoded(photo(0, width, height)), Form(64))
        assert min(seen[-1]) >= min(128, width, height)
    assert seen[0] == (171, 128)
    assert len(seen) == 5


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "CMYK"])
def test_every_mode_becomes_gray_or_color(mode: str, channels: int) -> None:
    image = photo(2).convert(mode)
    row = decode(encoded(image, "TIFF" if mode == "CMYK" else "PNG"), Form(10, channels))
    assert (row.shape, row.dtype) == ((channels, 10, 10), np.uint8)
    colors = image.convert("L" if channels == 1 else "RGB")
    square = (0, 5, 40, 45)
    expected = np.asarray(colors.resize((10, 10), Image.Resampling.BILINEAR, box=square))
    assert np.array_equal(row, expected.reshape(10, 10, -1).transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind: str) -> None:
    ramp = np.linspace(0, 65535, 16, dtype=np.uint16).repeat(16).reshape(16, 16)
    row = decode(encoded(Image.fromarray(ramp), kind), Form(16, channels=1))
    assert np.array_equal(row[0], np.rint(ramp / 257).astype(np.uint8))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_camera_rotation_is_undone(orientation: int) -> None:
    from PIL import ImageOps

    image = photo(3, 32, 32)
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    image.save(out, "PNG", exif=exif)
    with Image.open(io.BytesIO(out.getvalue())) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened)).transpose(2, 0, 1)
    assert np.array_equal(decode(out.getvalue(), Form(32)), expected)


def bomb(side: int) -> bytes:
    """A valid black 1-bit PNG of side x side, some kilobytes long."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, body = zlib.compressobj(9), b""
    line = bytes(1 + side // 8)
    for _ in range(side):
        body += packer.compress(line)
    body += packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8000, 12000, 16000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side: int) -> None:
    data = bomb(side)
    tracemalloc.start()
    with pytest.raises(BadImage, match=r"million pixels|decompression bomb"):
        decode(data, Form(64))
    assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"no picture at all", "cannot identify"),
        (encoded(photo(0, 1, 1), "PNG"), "too small"),
        (encoded(photo(0))[:-400], "(?i)truncated"),
        (encoded(Image.new("F", (8, 8)), "TIFF"), "range of floating-point pixels is unknown"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot identify"),  # would run ghostscript
    ],
)
def test_what_is_no_picture_says_why(data: bytes, says: str) -> None:
    with pytest.raises(BadImage, match=says):
        decode(data, Form(8))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "PPM", "WEBP"])
@pytest.mark.filterwarnings("ignore")
def test_mutations_decode_or_are_bad_and_nothing_else(kind: str) -> None:
    rng = np.random.default_rng(7)
    whole = encoded(photo(5), kind)
    for _ in range(100):
        data = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        for place in rng.integers(0, len(data), rng.integers(1, 12)):
            data[place] = rng.integers(256)
        with contextlib.suppress(BadImage):
            assert decode(bytes(data), Form(8)).shape == (3, 8, 8)


def test_ready_arrays_are_cropped_and_resized() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 28, 20), dtype=np.uint8)
    assert resize_all(images, None) is images
    assert np.array_equal(resize_all(images, 20), images[:, :, 4:24])
    half = resize_all(np.full((2, 1, 8, 8), 77, np.uint8), 4)
    assert half.shape == (2, 1, 4, 4)
    assert (half == 77).all()
