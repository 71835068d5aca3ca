"""`trainer.devices=N`: one run in N processes on this host, with torchrun's environment and genlab's exit codes.

Rank 0 has the terminal. The output of the other ranks is kept, and shown only if it explains why the run ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import IO, Any

from genlab.distributed import cpu_threads
from genlab.errors import LAUNCHED, PEER_GONE, DivergedError, ResourceError
from genlab.utils.signals import noted
from genlab.utils.subprocesses import die_with_parent, genlab_command
from genlab.utils.terminal import echo

POLL = 0.05  # seconds between looks at the processes
GRACE = 20  # seconds for the other ranks to end after a failure; NCCL would wait for half an hour
SAVING = 600  # seconds after a stop of all ranks: rank 0 may be writing a checkpoint
TOGETHER = {130, 143, DivergedError.code, PEER_GONE}  # exit codes of a stop or divergence, which ends every rank
MOST = 64  # as in genlab.config.trainer_config


@dataclass
class Rank:
    """One of the processes. `output` is its captured output; None: it prints to the terminal."""

    process: subprocess.Popen[bytes]
    output: IO[bytes] | None
    killed: bool = False  # by the launcher, because another rank failed


def wanted(config: Mapping[str, Any]) -> int:
    """The number of processes that an unchecked configuration asks for; 1: only this process."""
    trainer = config.get("trainer")
    devices = trainer.get("devices") if isinstance(trainer, Mapping) else None
    if "WORLD_SIZE" in os.environ or not isinstance(devices, int):
        return 1
    return devices if 1 < devices <= MOST else 1


def launch(count: int, words: Sequence[str]) -> int:
    """Run `genlab WORDS` as one run in `count` processes; returns the exit code that one process would return.

    Signals are forwarded to all of them. When one fails, the others are ended. ResourceError if one was killed.
    """
    everywhere = "--debug" in sys.argv
    command = genlab_command(*words, *(["--debug"] if everywhere else []))
    ranks: list[Rank] = []
    with free_port() as port, noted() as seen:  # none may come between a start and our knowing of it
        try:
            for rank in range(count):
                ranks.append(_start(command, environment(rank, count, port), rank == 0 or everywhere))
            _watch(ranks, seen)
        finally:
            for each in ranks:
                each.process.kill()
                each.process.wait()
        return _verdict(ranks, seen)


@contextlib.contextmanager
def free_port() -> Iterator[int]:
    """A port for rank 0 to listen on; it stays bound, so that the system gives it to no other process."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def environment(rank: int, count: int, port: int) -> dict[str, str]:
    return {
        **os.environ,
        **cpu_threads.thread_environment(count),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        LAUNCHED: "1",
    }


def _start(command: list[str], environment: dict[str, str], is_main: bool) -> Rank:
    output = None if is_main else tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as its rank
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,  # a Ctrl-C in the terminal reaches it through us, once
        preexec_fn=partial(die_with_parent, os.getpid()),
    )
    return Rank(process, output)


def _watch(ranks: Sequence[Rank], seen: Sequence[int]) -> None:
    """Until all have ended: forward signals, and kill the ranks that do not end after another one failed."""
    passed, bad_since = 0, None
    while running := [each for each in ranks if each.process.poll() is None]:
        for signum in seen[passed:]:
            passed += 1
            for each in running:
                each.process.send_signal(signum)
        codes = [each.process.returncode for each in ranks]
        bad = [code for code in codes if code]
        if bad:
            bad_since = bad_since or time.monotonic()
            patience = SAVING if set(bad) <= TOGETHER else GRACE
            if time.monotonic() - bad_since > patience:
                for each in running:
                    each.killed = True
                    each.process.kill()
        time.sleep(POLL)


def _verdict(ranks: Sequence[Rank], seen: Sequence[int]) -> int:
    """The exit code of the rank that caused the failure; prints its output if that was captured."""
    codes = {i: each.process.returncode for i, each in enumerate(ranks) if not each.killed}
    own = {i: code for i, code in codes.items() if code not in (0, PEER_GONE)}
    explained = {i: code for i, code in own.items() if 0 < code < 9}
    if explained:
        first, code = next(iter(explained.items()))
        _show(ranks[first])
        return code
    if seen and any(codes.values()):
        return 128 + seen[0]
    if not own:
        if codes.get(0) == 0:  # what the run was for is done and saved
            return 0
        raise ResourceError("the processes of this run lost each other", "trainer.devices", "start it again")
    first, code = next(iter(own.items()))
    if code > 0:
        return code
    raise ResourceError(
        f"process {first} of {len(ranks)} was ended by signal {-code} ({signal.Signals(-code).name})",
        "the system's memory killer sends 9",
        "resume with: genlab resume last, or the same command with its hydra.run.dir",
    )


def _show(rank: Rank) -> None:
    """Print the last captured line of a rank: its error."""
    if rank.output:
        rank.output.seek(0)
        lines = rank.output.read().decode("utf-8", "replace").strip().splitlines()
        echo(lines[-1] if lines else "genlab: error: a process of this run failed without a word", err=True)
