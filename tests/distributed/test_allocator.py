"""Memory that a step has freed is there for the next: counted as the kernel counts it, in page faults."""

from __future__ import annotations

import subprocess
import sys

import pytest

COUNT = """
import resource, sys, torch
from genlab.distributed import allocator
if sys.argv[1] == "kept":
    allocator.keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    torch.ones(10**7)  # 40 MB: more than malloc's threshold ever grows to by itself
for _ in range(30):  # an aligned block (memalign) finds a place among the freed ones only after some rounds
    step()
before = faults()
for _ in range(5):
    step()
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_freed_memory_is_reused() -> None:
    counted = [
        int(subprocess.run([sys.executable, "-c", COUNT, how], capture_output=True, text=True, check=True).stdout)
        for how in ("kept", "returned")
    ]
    assert counted[0] < counted[1] / 2
