"""Too little address space (`ulimit -v`) is code 5 with one line, wherever it runs out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXHAUSTED = """
import resource
from genlab.errors import resource_error
assert resource_error(SystemError("error return without exception set")) is None
resource.setrlimit(resource.RLIMIT_AS, (2**28, resource.RLIM_INFINITY))
hog = []
try:
    while True:
        hog.append(bytearray(2**20))
except MemoryError:
    pass
assert resource_error(SystemError("error return without exception set")).code == 5
"""


def python(words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=300, env=environment)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit address space")
@pytest.mark.parametrize("kilobytes", [100_000, 1_000_000, 2_000_000])
def test_a_command_that_cannot_load_its_libraries(kilobytes: int) -> None:
    ended = python(f"ulimit -v {kilobytes}; {sys.executable} -m genlab train trainer.steps=1 dry_run=true")
    assert ended.returncode == 5, ended.stderr
    assert ended.stderr.startswith("genlab: error: out of ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit address space")
def test_any_error_of_an_exhausted_process_is_one_of_memory() -> None:
    ended = python(f"{sys.executable} -c '{EXHAUSTED}'")
    assert ended.returncode == 0, ended.stderr
