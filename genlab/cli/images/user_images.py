"""The user's own images, as a model takes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from genlab.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from genlab.workflows.build import LoadedRun

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # not EPS: it would run another program
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def files_at(name: str, key: str = "image") -> list[Path]:
    """The image file that `key` names, or those of the folder, sorted by name. DataError if there are none."""
    path = Path(name).expanduser()
    if not path.exists():
        raise DataError(f"'{name}' is not there", f"key {key}", "give an image or a folder of them")
    if path.is_file():
        return [path]
    found = sorted(each for each in path.iterdir() if each.suffix.lower() in SUFFIXES)
    if not found:
        raise DataError(f"'{name}' holds no images", f"they end in {' '.join(SUFFIXES)}", "give another folder")
    return found


def read(files: list[Path], shape: tuple[int, ...]) -> Tensor:
    """The images as (N, C, H, W) in [0, 1]: upright, in the model's colors, center-cropped, then resized."""
    import torch

    return torch.stack([_read(file, shape) for file in files])


def for_model(loaded: LoadedRun, files: list[Path]) -> Tensor:
    """The images as `read` gives them, in the shape and on the device of a run's model."""
    return read(files, shape_of(loaded)).to(loaded.runtime.device)


def shape_of(loaded: LoadedRun) -> tuple[int, ...]:
    """Channels, height and width of the images that the run was trained on, from its record."""
    from genlab.runs import run_folder

    return tuple(run_folder.data_record(loaded.record, loaded.path)["shape"])


def readable(files: list[Path], shape: tuple[int, ...]) -> tuple[dict[Path, Tensor], list[DataError]]:
    """The images (C, H, W) that can be read, as `read` gives them, and an error for each of the others."""
    images, errors = {}, []
    for file in files:
        try:
            images[file] = _read(file, shape)
        except DataError as error:
            errors.append(error)
    return images, errors


def _read(path: Path, shape: tuple[int, ...]) -> Tensor:
    import numpy as np
    import torch
    from PIL import Image, ImageOps

    channels, height, width = shape
    try:
        with Image.open(path, formats=FORMATS) as image:
            upright = ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")
            fitted = ImageOps.fit(upright, (width, height), Image.Resampling.BILINEAR)
    except Exception as error:  # on damaged bytes a decoder may raise anything
        reason = f"{type(error).__name__}: {error}".replace("<_io.", "<")[:120]
        raise DataError(f"image {path} cannot be read", reason, "restore it, or give another") from None
    pixels = np.asarray(fitted).reshape(height, width, channels).transpose(2, 0, 1)
    return torch.from_numpy(pixels.copy()).float() / 255
