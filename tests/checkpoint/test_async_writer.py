"""The thread beside training: order, bounds, errors that are never lost, and an end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from genlab.checkpoint.async_writer import Worker
from tests.support.processes import PATIENCE


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Jobs wait for it; opened at the end, whatever the test did."""
    event = threading.Event()
    yield event
    event.set()


def blocked(call: Callable[[], object]) -> threading.Thread:
    """Start `call` in a thread of its own and see that it does not return."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()
    return thread


def fail() -> None:
    raise OSError("the disk is gone")


def test_jobs_are_done_in_order_beside_the_caller(gate: threading.Event) -> None:
    worker, done = Worker(), []
    first = worker.submit(gate.wait)
    numbers = [worker.submit(lambda i=i: done.append((i, threading.current_thread().name))) for i in range(20)]
    assert done == []  # nobody waited
    gate.set()
    worker.wait(first)
    worker.wait(numbers[9])
    assert [i for i, _ in done[:10]] == list(range(10))
    worker.close()
    assert [i for i, _ in done] == list(range(20))
    assert {name for _, name in done} == {"genlab-writer"}


def test_a_thread_that_cannot_start_is_the_error_that_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    worker = Worker()
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        worker.submit(fail)
    worker.close()


@pytest.mark.parametrize(("limits", "nbytes"), [((2, 1000), 0), ((99, 1000), 500)])
def test_a_slow_disk_makes_the_caller_wait(limits: tuple[int, int], nbytes: int, gate: threading.Event) -> None:
    worker, done = Worker(*limits), []
    started = threading.Event()
    worker.submit(lambda: (started.set(), gate.wait()))
    assert started.wait(PATIENCE)
    for i in range(2):
        worker.submit(lambda i=i: done.append(i), nbytes)
    third = blocked(lambda: worker.submit(lambda: done.append(2), nbytes))
    gate.set()
    third.join(10)
    worker.close()
    assert done == [0, 1, 2]


def test_a_job_larger_than_the_bound_goes_alone(gate: threading.Event) -> None:
    worker = Worker(nbytes=10)
    worker.submit(gate.wait, 1000)
    worker.submit(lambda: None, 1000)
    waiting = blocked(lambda: worker.submit(lambda: None, 1))
    gate.set()
    waiting.join(10)
    worker.close()


def test_an_error_is_raised_at_the_next_call_and_nothing_follows_it(gate: threading.Event) -> None:
    worker, done = Worker(), []
    worker.submit(gate.wait)
    failing = worker.submit(fail)
    worker.submit(lambda: done.append("later"))
    gate.set()
    calls = [lambda: worker.wait(failing), worker.check, lambda: worker.submit(lambda: done.append("more")),
             worker.close, worker.close]  # fmt: skip
    for call in calls:
        with pytest.raises(OSError, match="the disk is gone"):
            call()
    assert done == []


def test_an_error_frees_a_caller_that_waits_for_room(gate: threading.Event) -> None:
    worker, seen = Worker(jobs=1), []

    def submit() -> None:
        try:
            worker.submit(lambda: None)
        except OSError as error:
            seen.append(str(error))

    started = threading.Event()
    worker.submit(lambda: (started.set(), gate.wait(), fail()))
    assert started.wait(PATIENCE)
    worker.submit(lambda: None)
    waiting = blocked(submit)
    gate.set()
    waiting.join(10)
    assert seen == ["the disk is gone"]


def test_close_leaves_no_thread() -> None:
    before = threading.active_count()
    Worker().close()  # never used
    worker, done = Worker(), []
    worker.submit(lambda: done.append(1))
    worker.close()
    worker.close()
    assert (done, threading.active_count()) == ([1], before)
