"""Two ranks (gloo), one of which is killed: all processes end, and the same command started again resumes."""

from __future__ import annotations

import os
import select
import signal
from functools import partial
from pathlib import Path

from genlab.distributed.launcher import environment, free_port
from tests.harness.fault_class import Case, FaultClass
from tests.harness.reference import VAE, Before, real, resumed, whole
from tests.support.processes import PATIENCE, finish, fork, wait

TWO = [*VAE, "trainer.devices=2"]


def rank(number: int, port: int, arguments: list[str], output: Path | None = None) -> int:
    """Start one of two ranks in a child of this process."""
    return fork(arguments, partial(os.environ.update, environment(number, 2, port)), output)


def both(arguments: list[str], before: Before = None, output: Path | None = None) -> int:
    """Start both ranks, and a process that waits for them and ends with the code of one that failed."""
    pid = os.fork()
    if pid == 0:
        with free_port() as port:
            pids = [rank(number, port, arguments, output if number == 0 else None) for number in range(2)]
            codes = [os.waitstatus_to_exitcode(os.waitpid(each, 0)[1]) for each in pids]
        os._exit(next((code for code in codes if code > 0), int(any(codes))))
    return pid


def children(pid: int) -> list[int]:
    """Process ids of the ranks that the command `pid` has started."""
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def forked(case: Case) -> str | None:
    """As under torchrun: when one is gone, the other gets SIGTERM."""
    expected, run = whole(case, "ranks", TWO, both), case.folder / "run"
    with free_port() as port:
        ranks = [rank(number, port, ["train", *TWO, f"hydra.run.dir={run}"]) for number in range(2)]
        case.rng.shuffle(ranks)
        if wait(ranks[0], case.rng.uniform(0, expected["seconds"])) is None:
            os.kill(ranks[0], signal.SIGKILL)
            os.waitpid(ranks[0], 0)
        if wait(ranks[1], case.rng.uniform(0, 0.2)) is None:
            os.kill(ranks[1], signal.SIGTERM)
            if finish(ranks[1]) is None:
                return "the other rank does not end"
    return resumed(case, TWO, run, expected, both)


def launched(case: Case) -> str | None:
    """The command itself starts both ranks, and has to notice; in one try of three it is the one that is killed."""
    expected, run = whole(case, "ranks-real", TWO, real), case.folder / "run"
    pid = real(["train", *TWO, f"hydra.run.dir={run}"])
    if wait(pid, case.rng.uniform(0, expected["seconds"])) is None:
        ranks = children(pid)
        os.kill(case.rng.choice([pid, *ranks]), signal.SIGKILL)
        if finish(pid) is None:
            return "the command does not end"
        if not all(map(gone, ranks)):
            return "a rank outlives the command"
    return resumed(case, TWO, run, expected, both)


def gone(pid: int) -> bool:
    """Whether a process that is not our child ends."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], PATIENCE)[0])
    finally:
        os.close(descriptor)


PROMISE = "one of two ranks is killed: all end, and the run resumes to the same end"
FAULTS = [
    FaultClass("ranks", PROMISE, 60, forked, short=1),
    FaultClass("ranks_command", f"{PROMISE}: trainer.devices=2", 20, launched, short=0),
]
