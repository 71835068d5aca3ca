from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    cache = tmp_path / "own-cache"
    monkeypatch.setenv("GENLAB_CACHE", str(cache))
    return cache
