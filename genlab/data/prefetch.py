"""Reading the next batch from disk while the device works on the current one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """Calls `produce(step)` for consecutive steps; a thread produces the next while the current one is in use.

    At most two products exist at a time. An unexpected step is produced on demand; the same step is not produced twice
    in a row. `take` raises the exceptions of `produce`.
    """

    def __init__(self, produce: Callable[[int], T]) -> None:
        self._produce = produce
        self._thread: ThreadPoolExecutor | None = None
        self._next: tuple[int, Future[T]] | None = None
        self._held: tuple[int, T] | None = None

    def take(self, step: int, end: int | None = None) -> T:
        """The product of `step`; the next one is started unless it is `end`, which ends the thread."""
        if self._held is None or self._held[0] != step:
            begun, self._next = self._next, None
            if begun is None or begun[0] != step:
                begun = self._begin(step)
            self._held = None
            self._held = step, begun[1].result()
            if end is None or step + 1 < end:
                self._next = self._begin(step + 1)
            else:
                self.close()
        return self._held[1]

    def _begin(self, step: int) -> tuple[int, Future[T]]:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="genlab-data")
        return step, self._thread.submit(self._produce, step)

    def close(self) -> None:
        """End the thread after its current product."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
        self._thread = self._next = None
