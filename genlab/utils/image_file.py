"""Many images in one file of numbers, uint8 (N, C, H, W): .npy, .npz or .safetensors, the latter two under "image"."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab.errors import ConfigError, DataError, resource_error
from genlab.utils.files import replacing

if TYPE_CHECKING:
    from torch import Tensor

ARRAYS = (".npy", ".npz", ".safetensors")
KEY = "image"


def as_bytes(images: Tensor) -> Tensor:
    """Images in [0, 1] as uint8, rounded, on the host."""
    import torch

    return images.detach().float().clamp(0, 1).mul(255).round().to("cpu", torch.uint8)


def write(path: Path, images: Tensor) -> None:
    """Write uint8 images (N, C, H, W) as the file's ending says; the file appears whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            _write(temporary, path.suffix.lower(), images)
    except OSError as error:
        raise resource_error(error) or ConfigError(
            f"cannot write it ({error.strerror})", f"file {path}", "give another out=..."
        ) from None


def _write(path: Path, kind: str, images: Tensor) -> None:
    import numpy as np
    from safetensors.torch import save_file

    if kind == ".safetensors":
        save_file({KEY: images.contiguous()}, path)
        return
    with path.open("wb") as file:  # to a name without the ending numpy would add it
        if kind == ".npy":
            np.save(file, images.numpy())
        else:
            np.savez(file, image=images.numpy())


def read(path: Path) -> Tensor:
    """uint8 images (N, C, H, W); DataError if the file holds anything else."""
    import torch

    try:
        array = _read(path)
    except Exception as error:  # numpy, zip and safetensors raise several kinds on a damaged or hostile file
        text = (str(error).splitlines() or [""])[0][:80]
        raise DataError(f"{path} holds no images ({type(error).__name__}: {text})", "", "write it anew") from None
    if str(array.dtype) != "uint8" or array.ndim != 4 or array.shape[1] not in (1, 3) or not len(array):
        raise DataError(
            f"{path} holds {array.dtype} {tuple(array.shape)}", "wanted: uint8 (N, 1 or 3, H, W)", "write it anew"
        )
    return torch.from_numpy(array)


def _read(path: Path) -> Any:
    import numpy as np
    from safetensors.numpy import load_file

    if path.suffix.lower() == ".safetensors":
        return load_file(path)[KEY]
    found = np.load(path, allow_pickle=False)
    return found if isinstance(found, np.ndarray) else found[KEY]
