"""Work in child processes: it uses all cores, and a damaged file that crashes a C library ends a child, not the run.

A child is a new interpreter that imports neither torch nor the main module of the caller (the spawn of multiprocessing
would run the user's script again, and fork is unsafe once torch has threads). Jobs and results are pickled through its
standard streams, only between a process and its own child.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from genlab.errors import DataError, GenlabError

Job = tuple[Callable[..., Iterator[Any]], tuple[Any, ...]]
_END = object()


def run(jobs: Sequence[Job], what: str) -> Iterator[Any]:
    """The results of the generator functions of `jobs`, each in its own child, in order of arrival.

    A GenlabError or OSError of a child is raised here; if a child dies, a DataError names `what` it was reading.
    Closing the iterator early ends the children.
    """
    answers: queue.Queue[Any] = queue.Queue()
    children = [_start(job, answers) for job in jobs]
    try:
        running = len(children)
        while running:
            answer = answers.get()
            if answer is _END:
                running -= 1
            elif isinstance(answer, BaseException):
                raise answer
            else:
                yield answer
        for child in children:
            _check_ending(child.wait(), what)
    finally:
        for child in children:
            child.kill()
            child.wait()


def _start(job: Job, answers: queue.Queue[Any]) -> subprocess.Popen[bytes]:
    # what this process can import, without the working folder (-P)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "genlab.data.store.isolate"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    threading.Thread(target=_attend, args=(child, job, answers), daemon=True).start()
    return child


def _attend(child: subprocess.Popen[bytes], job: Job, answers: queue.Queue[Any]) -> None:
    """Send the job and forward the results of the child until it ends."""
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        with child.stdin:
            pickle.dump(job, child.stdin)
        with child.stdout:
            while True:
                answers.put(pickle.load(child.stdout))
    except (EOFError, OSError, pickle.UnpicklingError):  # it has ended: its exit status says how
        answers.put(_END)
    except Exception as error:
        answers.put(error)


def _check_ending(status: int, what: str) -> None:
    if status == 0:
        return
    how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
    raise DataError(
        f"the process that read {what} died ({how})",
        "a damaged file, or no memory left",
        "restore the file from its source, or free memory",
    )


def _main() -> None:
    """The child: read the job from stdin, write results to stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent decides
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keep the output of libraries out of the results
    function, arguments = pickle.load(sys.stdin.buffer)
    try:
        for answer in function(*arguments):
            pickle.dump(answer, out)
            out.flush()
    except BrokenPipeError:  # the parent is gone
        os._exit(1)
    except (GenlabError, OSError) as error:
        pickle.dump(error, out)
        out.flush()


if __name__ == "__main__":
    _main()
