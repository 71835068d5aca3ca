"""Small data sets opened from their readers, and what their stores hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.data.datasets.folder import Folder
from genlab.data.datasets.mnist import MNIST
from genlab.data.loader import Data
from genlab.registry import DATASETS, discover
from tests.support import synthetic

CPU = torch.device("cpu")
BOTH = ("a", "b")


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    cache = tmp_path / "own-cache"
    monkeypatch.setenv("GENLAB_CACHE", str(cache))
    return cache


def opened(name: str, **keys: Any) -> Data:
    discover()
    data: Data = DATASETS.build({"name": name, **keys}, seed=0).open(CPU)
    return data


def folder(tmp_path: Path, n: int = 12, **keys: object) -> Folder:
    """Two classes of pictures of 8 pixels."""
    root = tmp_path / "pictures"
    if not root.exists():
        synthetic.folder(root, {"cat": n // 2, "dog": n // 2})
    return Folder(root=str(root), size=8, **keys)


def plain(tmp_path: Path) -> MNIST:
    """A set that needs no decoding, so no child process."""
    root = tmp_path / "root"
    if not root.exists():
        synthetic.mnist(root)
    return MNIST(root=str(root), valid=10)


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


def stores(cache: Path) -> list[Path]:
    return [path for path in (cache / "store").iterdir() if (path / "meta.json").exists()]
