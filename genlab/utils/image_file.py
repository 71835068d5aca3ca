"""Many images in one file of numbers, uint8 (N, C, H, W): .npy, .npz or .safetensors, the latter two under "image"."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from genlab.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

ARRAYS = (".npy", ".npz", ".safetensors")
KEY = "image"


def as_bytes(images: Tensor) -> Tensor:
    """Images in [0, 1] as uint8, rounded, on the host."""
    import torch

    return images.detach().float().clamp(0, 1).mul(255).round().to("cpu", torch.uint8)


def write(file: BinaryIO, suffix: str, images: Tensor) -> None:
    """Write uint8 images (N, C, H, W) in the format of the suffix. Raises OSError."""
    import numpy as np
    from safetensors.torch import save

    if suffix == ".safetensors":
        file.write(save({KEY: images.contiguous()}))
    elif suffix == ".npy":
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
