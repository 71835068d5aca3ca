"""Memory or the device is gone, as torch reports it: one line, nothing saved from a dead device, and a resume."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tests.harness import hooks
from tests.harness.fault_class import Case, FaultClass
from tests.harness.reference import VAE, ended_as, finished, resumed, whole

ERRORS: tuple[Callable[[], BaseException], ...] = (
    lambda: torch.AcceleratorError("CUDA error: device-side assert triggered"),
    lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
    MemoryError,
)


def trial(case: Case) -> str | None:
    """The error is raised at a random step or evaluation; real ones are in tests/faults/test_gpu.py."""
    expected, run = whole(case, "vae-fork", VAE), case.folder / "run"
    error, step = case.rng.choice(ERRORS), case.rng.randint(1, 12)

    def fail() -> None:
        raise error()

    before = hooks.at_step(step, fail) if case.rng.random() < 0.7 else hooks.in_evaluation(case.rng.randint(1, 5), fail)
    found = finished(["train", *VAE, f"hydra.run.dir={run}"], case.folder, before=before)
    errors = sum(line.startswith("genlab: error") for line in found.err.splitlines())
    return ended_as(found) if (found.code, errors) != (5, 1) else resumed(case, VAE, run, expected)


FAULTS = [FaultClass("devices", "lost memory or a lost device ends with 5; the run resumes to the same end", 60, trial)]
