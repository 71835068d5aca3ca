"""A background thread that writes logs and checkpoints in the order in which they were submitted.

Training continues while images are encoded and checkpoints reach the disk. The order keeps the promise of a synchronous
program: a checkpoint is committed after every metric line of the steps before it. An error in the thread is raised in
the caller's thread, at its next call; jobs after the failed one are dropped.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from genlab.core.values import Embedding, ForwardingLogger, Image, Logger

Job = Callable[[], object]
WAITING_JOBS, WAITING_BYTES = 256, 64 * 2**20  # a slower disk makes training wait; memory stays bounded


class Worker:
    """A first-in, first-out queue of jobs and the thread that runs them; the thread starts with the first job.

    Use it from one thread at a time. `seconds` is the processor time of the jobs so far.
    """

    def __init__(self, jobs: int = WAITING_JOBS, nbytes: int = WAITING_BYTES) -> None:
        self._limits = jobs, nbytes
        self._waiting: deque[tuple[Job, int]] = deque()
        self._bytes = self._submitted = self._done = 0
        self._error: BaseException | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.seconds = 0.0

    def submit(self, job: Job, nbytes: int = 0) -> int:
        """Queue a job that holds `nbytes` of memory; returns its number, for `wait`. Blocks while too much is waiting.

        Raises the error of an earlier job; the new job is dropped then.
        """
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="genlab-writer", daemon=True)
            thread.start()  # may fail for want of memory
            self._thread = thread
        with self._changed:
            self._changed.wait_for(lambda: self._error or self._has_room(nbytes))
            self.check()
            self._waiting.append((job, nbytes))
            self._bytes += nbytes
            self._submitted += 1
            self._changed.notify_all()
            return self._submitted

    def wait(self, number: int) -> None:
        """Wait until the job of this number is done. Raises the error of a job."""
        with self._changed:
            self._changed.wait_for(lambda: self._error or self._done >= number)
        self.check()

    def check(self) -> None:
        """Raise the error of a job, if one has failed."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Finish the waiting jobs, end the thread, and raise the error of a job. A second call has no effect."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        self.check()

    def _has_room(self, nbytes: int) -> bool:
        jobs, limit = self._limits
        return not self._waiting or (len(self._waiting) < jobs and self._bytes + nbytes <= limit)

    def _work(self) -> None:
        while (job := self._next()) is not None:
            began = time.thread_time()
            try:
                job()
            except BaseException as error:  # any error belongs to the caller
                with self._changed:
                    self._error = error
                    self._waiting.clear()
                    self._changed.notify_all()
                return
            with self._changed:
                self.seconds += time.thread_time() - began
                self._done += 1
                self._changed.notify_all()

    def _next(self) -> Job | None:
        """Wait for the next job; None after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            if not self._waiting:
                return None
            job, nbytes = self._waiting.popleft()
            self._bytes -= nbytes
            self._changed.notify_all()
            return job


class BackgroundLogger(ForwardingLogger):
    """Has a worker pass every call to `logger`. Values must be on the host and not change later."""

    def __init__(self, logger: Logger, worker: Worker) -> None:
        self._logger, self._worker = logger, worker

    def forward(self, method: str, *arguments: Any) -> None:
        nbytes = sum(each.nbytes for each in arguments if isinstance(each, Image | Embedding))
        self._worker.submit(partial(getattr(self._logger, method), *arguments), nbytes)
