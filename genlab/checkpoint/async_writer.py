"""One thread beside training that writes what training has handed over, in the order in which it was handed over.

Training goes on while pictures are encoded and checkpoints reach the disk. The order keeps what the synchronous
program promised: a checkpoint is committed after every metric line of the steps before it. An error in the thread is
raised in the caller's, at its next call; nothing that came after the failed job is done.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from genlab.core.values import Embedding, Image, Logger

Job = Callable[[], object]
WAITING_JOBS, WAITING_BYTES = 256, 64 * 2**20  # a slower disk makes training wait; memory stays bounded


class Worker:
    """A first-in, first-out queue of jobs and the thread that does them; the thread starts with the first job.

    One caller's thread at a time may use it. `seconds` is the processor time that jobs have taken.
    """

    def __init__(self, jobs: int = WAITING_JOBS, nbytes: int = WAITING_BYTES) -> None:
        self._limits = jobs, nbytes
        self._waiting: deque[tuple[Job, int]] = deque()
        self._bytes = self._given = self._done = 0
        self._error: BaseException | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.seconds = 0.0

    def submit(self, job: Job, nbytes: int = 0) -> int:
        """Queue a job that holds `nbytes` of memory; its number, for `wait`. Blocks while too much is waiting.

        Raises what an earlier job has raised; the new one is dropped then.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="genlab-writer", daemon=True)
            self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._error or self._has_room(nbytes))
            self.check()
            self._waiting.append((job, nbytes))
            self._bytes += nbytes
            self._given += 1
            self._changed.notify_all()
            return self._given

    def wait(self, number: int) -> None:
        """Return when the job of this number is done. Raises what a job has raised."""
        with self._changed:
            self._changed.wait_for(lambda: self._error or self._done >= number)
        self.check()

    def check(self) -> None:
        """Raise what a job has raised, if one has."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Do all that is waiting, end the thread, and raise what a job has raised. A second call does nothing more."""
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
            except BaseException as error:  # whatever it is, it belongs to the caller
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
        """The next job, when there is one; None when there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            if not self._waiting:
                return None
            job, nbytes = self._waiting.popleft()
            self._bytes -= nbytes
            self._changed.notify_all()
            return job


class BackgroundLogger(Logger):
    """Hands everything to a worker, which gives it to `logger`. Values must be on the host and not change later."""

    def __init__(self, logger: Logger, worker: Worker) -> None:
        self._logger, self._worker = logger, worker

    def start(self, first_step: int, last_step: int, title: str) -> None:
        self._worker.submit(lambda: self._logger.start(first_step, last_step, title))

    def scalars(self, step: int, split: str, values: Mapping[str, float]) -> None:
        self._worker.submit(lambda: self._logger.scalars(step, split, values))

    def image(self, step: int, name: str, image: Image) -> None:
        self._worker.submit(lambda: self._logger.image(step, name, image), image.pixels.nbytes)

    def embedding(self, step: int, name: str, embedding: Embedding) -> None:
        nbytes = embedding.codes.nbytes + embedding.thumbnails.nbytes
        self._worker.submit(lambda: self._logger.embedding(step, name, embedding), nbytes)

    def text(self, step: int, name: str, text: str) -> None:
        self._worker.submit(lambda: self._logger.text(step, name, text))

    def hparams(self, config: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        self._worker.submit(lambda: self._logger.hparams(config, metrics))

    def flush(self) -> None:
        self._worker.submit(self._logger.flush)
