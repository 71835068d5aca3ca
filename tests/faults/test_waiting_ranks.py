"""A rank that waits for other processes of its run, in code that blocks Python's signal handlers, ends when asked."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from genlab.distributed import runtime
from genlab.distributed.launcher import environment, free_port
from genlab.errors import RankError
from tests.support.processes import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
RUN = ["train", "dataset=digits", "model.network.hidden=[16]", "--device", "cpu", "evaluator=none", "logger=quiet"]

UNHANDLED = """
import signal, threading, sys
from genlab.utils import signals
signal.signal(signal.SIGTERM, lambda *_: None)  # so the handler never marks the signal as handled, as if blocked
watchdog = signals._Watchdog(lambda: float(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    signal.raise_signal(signal.SIGTERM)
threading.Event().wait()
"""


def start(rank: int, port: int) -> subprocess.Popen[str]:
    """Rank `rank` of two, alone."""
    here = {**environment(rank, 2, port), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", "genlab", *RUN], stderr=subprocess.PIPE, text=True, env=here)


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_rank_1_ends_while_it_looks_for_rank_0() -> None:
    with socket.create_server(("127.0.0.1", 0)) as rank_0:
        process = start(1, rank_0.getsockname()[1])
        rank_0.settimeout(PATIENCE)
        connection, _ = rank_0.accept()  # it is in init_process_group, and gets no answer
        with connection:
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143, said
    assert said.splitlines()[-1].startswith("genlab: stopped: ")


def test_rank_0_ends_while_it_waits_for_rank_1() -> None:
    with free_port() as port:
        process = start(0, port)
        while not is_open(port):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, said
    assert said.splitlines()[-1].startswith("genlab: stopped: ")


def test_a_signal_that_is_not_handled_ends_the_process_when_patience_is_over_or_at_the_second() -> None:
    for patience, signals in ((0, 1), (10 * PATIENCE, 2)):
        words = [sys.executable, "-c", UNHANDLED, str(patience), str(signals)]
        done = subprocess.run(
            words, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 143, done.stderr
        assert done.stderr.count("genlab: stopped: ") == 1


def test_a_port_in_use_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for name, value in environment(0, 2, port).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(RankError, match=f"^port {port} is in use; MASTER_PORT; "):
            runtime.start("cpu", "fp32", False, 1)
