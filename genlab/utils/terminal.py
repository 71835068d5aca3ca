"""Everything that genlab prints. Nothing in it can control the terminal: such characters are shown as `?`.

Names and texts of run folders, files and configurations come from anywhere. ruff refuses `print` and rich's Console in
all other modules.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

STDOUT = "standard output"


def printable(text: str) -> str:
    """One line without line breaks, escape sequences and other characters that have no glyph; tabs stay."""
    return "".join(letter if letter.isprintable() or letter == "\t" else "?" for letter in text)


def echo(*lines: str, err: bool = False) -> None:
    """Print lines on standard output, where OSError means that nobody takes them, or on standard error."""
    try:
        print(*map(printable, lines), sep="\n", file=sys.stderr if err else sys.stdout, flush=True)
    except OSError as error:
        if not err:
            raise unwritable(error) from None
        _drop_unwritten(sys.stderr)


def unwritable(error: OSError) -> OSError:
    """`error`, which standard output has raised, with its name; what could not be written is dropped."""
    _drop_unwritten(sys.stdout)
    error.filename = STDOUT
    return error


def _drop_unwritten(stream: TextIO) -> None:
    """Empty the buffer of a stream that cannot be written, or each later flush fails again, the interpreter's too."""
    with contextlib.suppress(OSError, ValueError):
        kept, nowhere = os.dup(stream.fileno()), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        stream.flush()
        os.dup2(kept, stream.fileno())
        os.close(kept)
        os.close(nowhere)


def say(text: str) -> None:
    """Print a notice on standard error; if nobody can read it, work continues."""
    echo(f"genlab: {text}", err=True)


def is_main() -> bool:
    """Whether this is rank 0, or the only process, which prints what all ranks of a run would print."""
    return "WORLD_SIZE" not in os.environ or os.environ.get("RANK") in (None, "0")


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person looks at `stream`, on a terminal that can redraw."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def console(**options: Any) -> Console:
    """A rich Console, with its options, for tables and views."""
    return _console_class()(**options)


@functools.cache
def _console_class() -> type[Console]:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class PlainTextConsole(Console):
        """Its own control codes and styles pass; those within text do not."""

        def print(self, *objects: Any, **options: Any) -> None:
            try:
                super().print(*objects, **options)
            except OSError as error:
                raise unwritable(error) from None

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else "\n".join(map(printable, text.split("\n"))), style, control)

    return PlainTextConsole


def open_streams() -> None:
    """Connect closed standard streams to /dev/null; a file opened later would take the place of one."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115  # as long as the process lives
