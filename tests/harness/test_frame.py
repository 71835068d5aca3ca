"""The harness itself: it counts, names and reproduces what fails."""

from __future__ import annotations

import json
import os
import signal
import unittest
from pathlib import Path

import pytest

from tests.harness import __main__, report
from tests.harness.fault_class import Case, FaultClass
from tests.harness.runner import run


def trial(case: Case) -> str | None:
    """Trial 1 breaks the promise, 2 raises, 3 cannot be tried, 4 kills its process; the others hold."""
    if case.number == 2:
        raise ValueError("two\nlines")
    if case.number == 3:
        raise unittest.SkipTest("not on this machine")
    if case.number == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"broken {case.rng.random()}" if case.number == 1 else None


FAULTS = FaultClass("numbers", "all is well", 12, trial, per_trial=2)


def test_every_way_to_fail_is_counted_and_named(tmp_path: Path) -> None:
    result = run(FAULTS, range(FAULTS.trials()), jobs=3)
    assert (result.tried, sorted(result.failures), result.skipped) == (10, [1, 2, 4], {3: "not on this machine"})
    assert "two lines" in result.failures[2]
    assert "died" in result.failures[4]
    assert "| numbers |    10 |      3 | all is well |" in report.table([result])
    report.save([result], tmp_path / "file.json")
    assert json.loads((tmp_path / "file.json").read_text())[0]["failed"] == 3


def test_a_trial_is_reproduced_by_its_number_and_seed() -> None:
    found = [run(FAULTS, [1], seed).failures[1] for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert "  ".join(report.failures(run(FAULTS, [1], 7))).endswith(
        "python -m tests.harness numbers --seed 7 --trial 1"
    )


def test_the_exit_code_says_whether_all_held(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(__main__, "fault_classes", lambda: {"numbers": FAULTS})
    assert __main__.main(["numbers", "--trial", "0", "--jobs", "1"]) == 0
    assert __main__.main(["numbers", "--share", "0.4", "--jobs", "1"]) == 1
    assert "| numbers |     4 |      1 |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        __main__.main(["letters"])
