"""genlab train -m: one process per run, so that a crash affects one run only.

    <sweep>/sweep.json     the jobs, their states and final metrics: replaced atomically after every change
    <sweep>/sweep.csv      a row for each job, with its values and last metrics: written at the end
    <sweep>/0-seed=1/      the run of job 0, with the values that vary;  <sweep>/0.log  its output

The same command with the same hydra.sweep.dir runs the jobs that are not finished; a stopped job resumes from its
checkpoint.
"""

from __future__ import annotations

import gc
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from genlab.distributed import cpu_threads
from genlab.errors import CheckpointError, ConfigError, ResourceError, SweepError
from genlab.runs.lock import is_held
from genlab.sweep import fork_server
from genlab.sweep.jobs import Child, Start, exit_code, fork, spawn, stop, wait
from genlab.sweep.ledger import LOCK, Ledger, final_metric
from genlab.sweep.plan import Job, Plan
from genlab.sweep.watch import Watch
from genlab.utils.terminal import echo, say

PATIENCE = 60  # seconds for a stopped child to save its state


def sweep(planned: Plan, parallel: int, show_only: bool = False) -> int:
    """Run every job; the exit code. SweepError (8) if some failed, Stopped (130, 143)."""
    if parallel < 1:
        raise ConfigError(f"--jobs {parallel}", "genlab train -m", "give at least 1")
    if show_only:
        echo(*(" ".join(job.varies) or "(no values vary)" for job in planned.jobs))
        return 0
    run_all(planned, parallel)
    return 0


def run_all(planned: Plan, parallel: int) -> Path:
    """Run every job; the folder, which is another than the planned one if that was taken. Raises as `sweep` does."""
    ledger = Ledger.open(planned)
    try:
        try:
            _run_all(planned.jobs, ledger, parallel)
        finally:
            gc.unfreeze()
            ledger.table()
        from genlab.sweep.summary import summarize  # what it imports, no job needs

        summarize(ledger.folder, ledger.entries, ledger.runs)
    finally:
        ledger.lock.release()
    failed = [str(index) for index, entry in enumerate(ledger.entries) if entry["status"] != "done"]
    if failed:
        raise SweepError(f"{len(failed)} of {len(ledger.entries)} jobs failed: {', '.join(failed[:20])}",
                         f"sweep {ledger.folder}", "see the logs there; run them again with the same command and "
                         f"hydra.sweep.dir={ledger.folder}")  # fmt: skip
    return ledger.folder


def _starter() -> Start:
    """How jobs start on this machine: forked if that is safe."""
    reason = fork_server.refusal()
    if reason is None:
        fork_server.warm()
        reason = fork_server.refusal()  # again, after the imports
    if reason:
        say(f"every job runs in a new process and loads torch again: {reason}")
    return spawn if reason else fork


def _run_all(jobs: Sequence[Job], ledger: Ledger, parallel: int) -> None:
    waiting = [index for index in range(len(jobs)) if ledger.entries[index]["status"] != "done"]
    if len(waiting) < len(jobs):
        say(f"{len(jobs) - len(waiting)} of {len(jobs)} jobs are done already")
    _refuse_links([path for index in waiting for path in (ledger.runs[index], ledger.folder / f"{index}.log")])
    running: dict[int, Child] = {}
    with Watch(ledger.folder) as watch, cpu_threads.divided_threads(min(parallel, len(waiting))):
        start = _starter() if waiting else spawn
        try:
            while waiting or running:
                while waiting and len(running) < parallel:
                    index = waiting.pop(0)
                    _make_way(ledger.runs[index], watch)
                    running[index] = _start(start, index, jobs[index], ledger)
                watch.wait()
                for index in [i for i, child in running.items() if child.poll() is not None]:
                    _finish(index, running.pop(index), ledger)
                watch.check()
        except BaseException:
            for child in running.values():
                stop(child)
            for index, child in running.items():
                wait(child, PATIENCE)
                _finish(index, child, ledger, "stopped")
            raise


def _refuse_links(paths: Sequence[Path]) -> None:
    """ConfigError for a link, also a hard one, in place of a job's folder or log: they are removed or written."""
    for path in paths:
        if path.is_symlink() or (path.is_file() and path.stat().st_nlink > 1):
            raise ConfigError(f"'{path}' is a link", "key hydra.sweep.dir", "remove it, or name a new folder")


def _make_way(folder: Path, watch: Watch) -> None:
    """Wait until a job of a killed sweep has saved; remove a run that has no checkpoint."""
    watch.check()
    deadline = time.monotonic() + PATIENCE
    while is_held(folder / LOCK):
        if time.monotonic() > deadline:
            return  # a live run: the job will end with code 7
        watch.wait()
        watch.check()
    if folder.is_dir() and not (folder / "ckpt").is_dir():
        shutil.rmtree(folder)  # it failed before its first checkpoint


def _start(start: Start, index: int, job: Job, ledger: Ledger) -> Child:
    say(f"job {index}: {' '.join(job.varies) or 'no overrides'}")
    ledger.set(index, status="running", started=time.time())
    try:
        job = placed(job, ledger.runs[index])
        return start(job, ["train", *job.composed.words()], ledger.folder / f"{index}.log")
    except OSError as error:
        ledger.set(index, status="failed", error=str(error), ended=time.time())
        raise ResourceError(f"job {index} could not be started ({error})", f"sweep {ledger.folder}",
                            f"resume with the same command and hydra.sweep.dir={ledger.folder}") from error  # fmt: skip


def placed(job: Job, folder: Path) -> Job:
    """The job with `folder` as its run folder."""
    from hydra.core.override_parser.types import Quote, QuotedString

    run_dir = f"hydra.run.dir={QuotedString(str(folder), Quote.single).with_quotes()}"
    return replace(job, composed=replace(job.composed, run_dir=folder, overrides=[*job.overrides, run_dir]))


def _finish(index: int, child: Child, ledger: Ledger, otherwise: str = "failed") -> None:
    """Record how a job ended, from its exit status and its run.json."""
    code = exit_code(child)
    record = _record(ledger.runs[index])
    done = code == 0 and record.get("status") == "done"
    over = code == 0 and record.get("status") == "stopped"  # trainer.max_time
    stopped = "stopped" if code in (130, 143) or over else otherwise
    status = "done" if done else ("killed" if code < 0 else stopped)
    ledger.set(index, status=status, code=code if code >= 0 else 128 - code, ended=time.time(),
               metric=_metric(record), error=None if done else _last_line(ledger.folder / f"{index}.log"))  # fmt: skip
    say(f"job {index} {status}")


def _record(folder: Path) -> dict[str, Any]:
    from genlab.runs import run_folder

    try:
        return run_folder.read_record(folder)
    except CheckpointError:
        return {}  # it failed before it had a folder, or damaged it


def _metric(record: dict[str, Any]) -> str:
    """The final metric of a run for the ledger."""
    found = final_metric(record)
    return f"{found[0]} {found[1]:.5g}" if found else "-"


def _last_line(path: Path) -> str:
    """The last line of a log: the error of the job."""
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else ""
