"""The next batch from the disk while the device works on this one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """`produce(step)` for one step after the other, the next one by a thread while this one is in use.

    At most two products exist at a time. A step that was not the expected one is produced on demand; the same step is
    not produced twice in a row. What `produce` raises is raised by `take`.
    """

    def __init__(self, produce: Callable[[int], T]) -> None:
        self._produce = produce
        self._thread: ThreadPoolExecutor | None = None
        self._next: tuple[int, Future[T]] | None = None
        self._held: tuple[int, T] | None = None

    def take(self, step: int, end: int | None = None) -> T:
        """The product of `step`; the one after it is begun unless it is `end`, where the thread is let go."""
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
        """End the thread, once it has finished what it is at."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
        self._thread = self._next = None
