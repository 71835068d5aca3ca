"""Many images as numbered PNG files in a folder."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genlab.errors import ConfigError, resource_error
from genlab.utils.paths import user_path

if TYPE_CHECKING:
    from torch import Tensor


def is_folder(name: str | None) -> bool:
    """Whether `out=NAME` names a folder: it ends in a slash, or is one already."""
    return name is not None and (name.endswith(os.sep) or Path(name).expanduser().is_dir())


def new_folder(name: str, where: str) -> tuple[Path, str]:
    """The folder above, and the name of a folder that is still empty or missing; ConfigError if it holds anything."""
    path = user_path(name, where).absolute()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f"'{name}' is not an empty folder", where, "give a new folder")
    return path.parent, path.name


def write_folder(path: Path, images: Tensor, labels: Sequence[int] | None, names: Sequence[str]) -> None:
    """Write uint8 images (N, C, H, W) as `path`/000000-CLASS.png and so on; the folder is there whole or not at all.

    `labels` are numbers of classes, one for each image; `names` their names, if they have any. ResourceError or
    ConfigError if that fails.
    """
    from genlab.core.values import Image

    classes = [_word(names[label] if label < len(names) else f"class{label}") for label in labels or ()]
    temporary = path.with_name(f".tmp-{path.name}.{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
        for index, image in enumerate(images):
            ending = f"-{classes[index]}" if classes else ""
            (temporary / f"{index:06d}{ending}.png").write_bytes(Image(image).png)
        os.replace(temporary, path)
    except OSError as error:
        raise resource_error(error) or ConfigError(
            f"cannot write it ({error.strerror})", f"folder {path}", "give another out=..."
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _word(name: str) -> str:
    """A name of a class as a part of a file name: `T-shirt/top` becomes `T-shirt-top`."""
    return re.sub(r"[^\w.]+", "-", name).strip("-.")[:40] or "class"
