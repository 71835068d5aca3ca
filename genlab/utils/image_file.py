"""Many images in one file of numbers, uint8 (N, C, H, W): .npy, .npz or .safetensors.

The latter two hold them as "image", and may hold one class for each, int64 (N,), as "label".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from genlab.errors import DataError, GenlabError, ResourceError
from genlab.utils.files import size_text
from genlab.utils.memory import free_host_memory

if TYPE_CHECKING:
    from torch import Tensor

ARRAYS = (".npy", ".npz", ".safetensors")
KEY, LABEL = "image", "label"
EXPANSION, SMALL = 100, 2**26  # an archive may unpack to 100 times its size, or to 64 MiB


def as_bytes(images: Tensor) -> Tensor:
    """Images in [0, 1] as uint8, rounded, on the host."""
    import torch

    return images.detach().float().clamp(0, 1).mul(255).round().to("cpu", torch.uint8)


def write(file: BinaryIO, suffix: str, images: Tensor, labels: Sequence[int] | None = None) -> None:
    """Write uint8 images (N, C, H, W), and a class for each, in the format of the suffix; .npy holds no classes.

    Raises OSError.
    """
    import numpy as np
    import torch
    from safetensors.torch import save

    arrays = {KEY: images.contiguous(), **({LABEL: torch.tensor(labels)} if labels else {})}
    if suffix == ".safetensors":
        file.write(save(arrays))
    elif suffix == ".npy":
        np.save(file, images.numpy())
    else:
        np.savez(file, **{name: array.numpy() for name, array in arrays.items()})  # type: ignore[arg-type]


def read(path: Path) -> Tensor:
    """uint8 images (N, C, H, W); DataError if the file holds anything else, ResourceError for lack of memory."""
    import numpy as np
    import torch

    [array] = load_arrays(path, (KEY,))
    if str(array.dtype) != "uint8" or array.ndim != 4 or array.shape[1] not in (1, 3) or not len(array):
        raise DataError(
            f"{path} holds {array.dtype} {tuple(array.shape)}", "wanted: uint8 (N, 1 or 3, H, W)", "write it anew"
        )
    _check_memory(path, array.nbytes)
    return torch.from_numpy(np.array(array))


def load_arrays(path: Path, *names: Sequence[str]) -> list[Any]:
    """For each of `names` the first of these arrays that the file holds, else None; a .npy file is the first one.

    `path` is a regular .npy, .npz or .safetensors file. The array of a .npy file is memory-mapped, pickles are refused.
    DataError if it cannot be read, has no first array, or is a decompression bomb; ResourceError for lack of memory.
    """
    import numpy as np
    from safetensors.numpy import load_file

    try:
        if path.suffix.lower() == ".safetensors":
            _check_memory(path, path.stat().st_size)
            return _pick(path, load_file(path), names)
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(found, np.ndarray):
            return [found, *[None] * (len(names) - 1)]
        with found as archive:
            size = sum(entry.file_size for entry in archive.zip.infolist())
            if size > max(EXPANSION * path.stat().st_size, SMALL):
                raise DataError(f"{path} unpacks to {size_text(size)}", "a decompression bomb", "store it as .npy")
            _check_memory(path, size)
            return _pick(path, archive, names)
    except GenlabError:
        raise
    except Exception as error:  # numpy, zip and safetensors raise several kinds on a damaged or hostile file
        said = " ".join(str(error).split())[:100]
        raise DataError(f"{path} is not readable", f"{type(error).__name__}: {said}", "write it again") from None


def _pick(path: Path, arrays: Mapping[str, Any], names: Sequence[Sequence[str]]) -> list[Any]:
    found = [next((arrays[name] for name in each if name in arrays), None) for each in names]
    if found[0] is None:
        raise DataError(f"{path} holds no images", f"arrays: {', '.join(arrays)}", f"name them {names[0][0]}")
    return found


def _check_memory(path: Path, size: int) -> None:
    if size > (free := free_host_memory()):
        raise ResourceError(f"{path} needs {size_text(size)} of memory", f"{size_text(free)} are free", "use fewer")
