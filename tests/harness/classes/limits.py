"""The disk is full, files may not grow, no descriptors are left: one line, nothing lost, and the run resumes."""

from __future__ import annotations

import ctypes
import os
import resource
import unittest
from collections.abc import Callable
from pathlib import Path

from tests.harness.fault_class import Case, FaultClass
from tests.harness.reference import VAE, Before, ended_as, finished, resumed, whole
from tests.support.processes import Ended

NEWUSER, NEWNS = 0x10000000, 0x00020000  # of unshare(2)
LARGEST = 25_000  # bytes: more than the largest file of the run
NEEDED = 260_000  # bytes: about what the run takes on a disk


def wrong(found: Ended) -> str | None:
    """A run that lacks something ends with 5 and one line; with 0 if it did not need it."""
    errors = sum(line.startswith("genlab: error") for line in found.err.splitlines())
    return None if (found.code, errors) in ((0, 0), (5, 1)) else ended_as(found)


def limited(kind: int, limit: int) -> Before:
    return lambda: resource.setrlimit(kind, (limit, limit))


def trial(case: Case, run: Path, before: Before, prepare: Callable[[], object] = lambda: None) -> str | None:
    """A run with a limit; then, after `prepare`, the same run without."""
    expected = whole(case, "vae-fork", VAE)
    found = finished(["train", *VAE, f"hydra.run.dir={run}"], case.folder, before=before)
    prepare()
    return wrong(found) or resumed(case, VAE, run, expected)


def file_size(case: Case) -> str | None:
    """No file may be larger than a random size (EFBIG); the streams go to files too, so it is not tiny."""
    return trial(case, case.folder / "run", limited(resource.RLIMIT_FSIZE, case.rng.randint(3000, LARGEST)))


def small_disk(case: Case) -> str | None:
    """The run is on a disk of a random size, which is then enlarged."""
    disk = case.folder / "disk"
    disk.mkdir()
    mount(disk, case.rng.randint(1, NEEDED // 4096) * 4096)
    return trial(case, disk / "run", None, lambda: mount(disk, 2**26, again=True))


def descriptors(case: Case) -> str | None:
    """A few free descriptors."""
    with open(os.devnull) as lowest:
        free = lowest.fileno()
    return trial(case, case.folder / "run", limited(resource.RLIMIT_NOFILE, free + case.rng.randint(0, 12)))


def mount(folder: Path, size: int, again: bool = False) -> None:
    """A tmpfs of `size` bytes, seen by this process and its children alone. SkipTest where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if not again:
        if user and libc.unshare(NEWUSER) == 0:
            for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
                Path(f"/proc/self/{name}").write_text(text)
        if libc.unshare(NEWNS) or libc.mount(b"none", b"/", None, 0x44000, None):  # MS_REC | MS_PRIVATE
            raise unittest.SkipTest("mounting is not allowed here")
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0x20 if again else 0, f"size={size}".encode()):
        raise unittest.SkipTest(f"a tmpfs cannot be mounted here: {os.strerror(ctypes.get_errno())}")


FAULTS = [
    FaultClass(
        "full_files", "a file that may not grow ends the run with 5; it resumes to the same end", 150, file_size
    ),
    FaultClass("full_disk", "a full disk ends the run with 5; it resumes to the same end", 100, small_disk),
    FaultClass("descriptors", "too few descriptors end the run with 5; it resumes to the same end", 50, descriptors),
]
