"""A run that is killed goes on by itself and ends where it would have ended (the long version: make acceptance)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from genlab.workflows.build import load_registry
from tests.support.kills import FAMILIES, command, fork, trial


@pytest.mark.parametrize("family", FAMILIES)
def test_forked_runs_survive_sigkill(family: str, tmp_path: Path) -> None:
    load_registry()
    trial(fork, family, 5, tmp_path, random.Random(family))


def test_the_command_survives_sigkill(tmp_path: Path) -> None:
    trial(command, "vae", 2, tmp_path, random.Random(1))
