"""Too few descriptors are named as such: what cannot be opened for want of them is not taken for damaged."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from genlab.workflows.build import load_registry
from tests.support.processes import ended, fork
from tests.support.tiny_runs import FAMILIES


@pytest.mark.parametrize("free", range(3))
def test_too_few_descriptors_end_with_one_line_and_leave_the_store_alone(free: int, tmp_path: Path) -> None:
    load_registry()
    words = ["train", *FAMILIES["vae"], "dataset=digits", "trainer.steps=2", "evaluator=none", "logger=quiet"]
    words.append(f"hydra.run.dir={tmp_path / 'run'}")
    assert ended(fork([*words, "dry_run=true"], output=tmp_path), tmp_path).code == 0  # makes the store
    with open(os.devnull) as lowest:
        limit = lowest.fileno() + free
    before = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))  # noqa: E731
    found = ended(fork(words, before, tmp_path), tmp_path)
    assert (found.code, found.err.count("\n")) == (5, 1), found.err
    assert "too many open files" in found.err
