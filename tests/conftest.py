"""Every test runs alone: its own working folder, a cache of the session's, one torch thread, no ranks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = [
    f"tests.support.{name}"
    for name in ("checkpoints", "commands", "data", "evaluated", "in_memory", "models", "trainers")
]

DATA = os.environ.get("GENLAB_DATA")
BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the whole session, so that a store is built once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENLAB_CACHE", str(cache))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path.with_name(f"{tmp_path.name}-config")))  # trusted plug-ins
    monkeypatch.delenv("GENLAB_DATA", raising=False)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def real_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the real data sets, also put into GENLAB_DATA; the test is skipped where there is none."""
    root = Path(DATA) if DATA else BESIDE
    if not (root / "MNIST").is_dir():
        pytest.skip("no real data: set GENLAB_DATA to a folder that holds MNIST, celeba, lsun, ...")
    monkeypatch.setenv("GENLAB_DATA", str(root))
    return root
