"""Fixtures of the durability tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from genlab.checkpoint.manager import Checkpoints
from tests.support.durable import save


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """An empty folder in memory where there is such a disk: hundreds of flushes cost nothing there."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture
def saved(place: Path) -> Path:
    """A folder of checkpoints with good ones at steps 1 and 2."""
    (place / "run").mkdir()
    checkpoints = Checkpoints(place / "run" / "ckpt")
    for step in (1, 2):
        save(checkpoints, step)
    return checkpoints.folder


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as context:
        yield context
