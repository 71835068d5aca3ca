"""How many CPU threads a process takes on a machine that it shares, and how they wait."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from genlab.distributed import cpu_threads, runtime
from genlab.distributed.cpu_threads import DIVIDED, GIVEN, Usage, choose, free_cores
from genlab.workflows import session


@pytest.mark.parametrize(
    ("idle", "own", "expected"),
    [(14.0, 2.0, 8), (6.0, 2.0, 4), (0.0, 2.0, 1), (0.0, 0.1, 1), (5.2, 2.0, 4), (4.8, 2.0, 3)],
)
def test_the_free_cores_are_the_idle_ones_and_our_own(idle: float, own: float, expected: int) -> None:
    before, after = Usage(100.0, 50.0, 3.0), Usage(102.0, 50.0 + idle, 3.0 + own)  # two seconds on eight cores
    assert free_cores(before, after, limit=8) == expected


def test_a_busy_machine_is_shared_and_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv(GIVEN, raising=False)
    observed = iter([Usage(11.0, 5.0, 1.0)])  # a second after the start, in which we had one core and none was idle
    monkeypatch.setattr(cpu_threads, "START", Usage(10.0, 5.0, 0.0))
    monkeypatch.setattr(Usage, "now", lambda: next(observed))
    assert choose(4) == 1
    assert "training on 1 of 4 CPU threads" in capsys.readouterr().err


def test_an_observation_of_long_ago_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(GIVEN, raising=False)
    observed = iter([Usage(5000.0, 0.0, 0.0), Usage(5000.2, 0.6, 0.2)])  # busy until now; four cores are free now
    monkeypatch.setattr(cpu_threads, "START", Usage(0.0, 0.0, 0.0))
    monkeypatch.setattr(cpu_threads.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(Usage, "now", lambda: next(observed))
    assert choose(4) == 4


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(GIVEN, raising=False)
    monkeypatch.setenv(DIVIDED, "2")
    assert choose(8) == 2
    monkeypatch.setenv(GIVEN, "3")
    assert choose(8) == 3


def test_deterministic_runs_take_the_same_number_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(GIVEN, raising=False)
    monkeypatch.setattr(cpu_threads, "START", Usage(0.0, 0.0, 0.0))
    monkeypatch.setattr(Usage, "now", lambda: Usage(1.0, 0.0, 0.0))
    assert choose(8, repeatable=True) == 8


def test_processes_that_start_together_divide_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The jobs of a sweep, and the ranks of each job."""
    monkeypatch.delenv(DIVIDED, raising=False)
    monkeypatch.setattr("genlab.utils.subprocesses.cores", lambda: 8)
    for jobs, ranks, threads in ((2, 2, "2"), (3, 1, "2"), (1, 4, "2"), (20, 1, "1"), (1, 1, None)):
        with cpu_threads.divided_threads(jobs):
            assert (os.environ | cpu_threads.thread_environment(ranks)).get(DIVIDED) == threads
    assert DIVIDED not in os.environ


@pytest.mark.parametrize(
    ("wanted", "recorded", "expected"), [(None, None, "auto"), (None, 3, 3), ("auto", 3, 3), (2, 3, 2)]
)
def test_a_run_keeps_its_number_also_one_from_before_there_was_auto(
    wanted: int | None, recorded: int | None, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    monkeypatch.setattr(session.runtimes, "start", lambda *arguments: seen.append(arguments[3]))
    session.start_runtime({"trainer": {"threads": wanted}}, recorded)
    assert seen == [expected]


def test_a_number_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    before, counts = torch.get_num_threads(), []
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    runtime.start("cpu", "fp32", deterministic=False, threads=before + 1)
    assert counts == [before + 1]


def test_a_command_waits_without_spinning_unless_told() -> None:
    code = "import os; from genlab.cli.main import main; main(['--version']); print(os.environ.get('GOMP_SPINCOUNT'))"

    def spins(**more: str) -> str:
        environment = {key: value for key, value in os.environ.items() if key not in cpu_threads.SPINS} | more
        return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True).stdout

    assert spins().split()[-1] == cpu_threads.SPINS["GOMP_SPINCOUNT"]
    assert spins(OMP_WAIT_POLICY="active").split()[-1] == "None"
