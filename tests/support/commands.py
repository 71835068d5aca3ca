"""Running commands in this process, and asking that they end as documented."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from genlab.cli import main
from genlab.registry import discover

Refused = Callable[..., str]
SMALL_VAE = ["model.latent_dim=4", "model.network.hidden=[16]"]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Refused:
    """`refused("train", "a=b")` asks for exit code 2, one line, nothing else and no new file; gives the line."""
    discover()

    def check(*arguments: str, code: int = 2) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert main.main(arguments) == code
        out, err = capsys.readouterr()
        assert out == ""
        lines = err.splitlines()
        assert len(lines) == 1, err
        assert lines[0].startswith("genlab: error: ")
        assert "Traceback" not in err
        assert sorted(tmp_path.rglob("*")) == before
        return lines[0].removeprefix("genlab: error: ")

    return check


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that succeeds prints."""
    assert main.main(arguments) == 0
    return capsys.readouterr().out
