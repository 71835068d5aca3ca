"""The user's own images, as a model takes them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from genlab.errors import ConfigError, DataError
from genlab.utils.paths import user_path

if TYPE_CHECKING:
    from torch import Tensor

    from genlab.workflows.build import LoadedRun


def files_at(name: str, key: str = "image") -> list[Path]:
    """The image file that `key` names, or those of the folder, sorted by name. DataError if there are none."""
    from genlab.data.store.image import SUFFIXES

    path = user_path(name, f"key {key}")
    if not path.exists():
        raise DataError(f"'{name}' is not there", f"key {key}", "give an image or a folder of them")
    if not path.is_dir():
        return [path]
    found = sorted(each for each in path.iterdir() if each.suffix.lower() in SUFFIXES)
    if not found:
        raise DataError(f"'{name}' holds no images", f"they end in {' '.join(SUFFIXES)}", "give another folder")
    return found


def read(files: list[Path], shape: tuple[int, ...]) -> Tensor:
    """The images (N, C, H, W) in [0, 1], decoded as those of data sets: cropped, resized, in the model's colors."""
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
    import torch

    from genlab.data.store.encoded import Files
    from genlab.data.store.image import BadImage, Form, decode

    channels, height, width = shape
    if (height, width) == (1, 1):
        raise ConfigError("the run was trained on points, not images", f"image {path}", "use a run of images")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about files that it decodes or that raise BadImage
            pixels = decode(Files(path.parent, [path.name]).read(0), Form(height, channels, width=width))
    except BadImage as error:
        raise DataError(f"image {path} cannot be read", str(error), "restore it, or give another") from None
    return torch.from_numpy(pixels.copy()).float() / 255
