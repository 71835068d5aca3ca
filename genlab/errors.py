"""The exceptions, each with its documented exit code (docs/errors.md).

A message says in one line what is wrong, where, and what to do.
"""

from __future__ import annotations

import difflib
import errno
import os
import traceback
from collections.abc import Iterable

LAUNCHED = "GENLAB_LAUNCHED"  # in the environment of a process that genlab.distributed.launcher has started
REFUSED = {  # error numbers of the system for a path that is wrong or forbidden
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO,
    errno.EIO, errno.ESTALE,
}  # fmt: skip
ADDRESS_SPACE = (
    "failed to map segment",
    "can't start new thread",
    "Cannot allocate memory",
    "std::bad_alloc",
)  # of loaders and threads
LONGEST = 1000  # characters of one part of a message: a longer path or list of names loses its middle
PEER_GONE = 113  # exit code of such a process, without a message, when another one failed


class GenlabError(Exception):
    """`what; where; what to do`, printed as one line; `code` is the process's exit code."""

    code = 1

    def __init_subclass__(cls, code: int | None = None) -> None:
        cls.code = code or cls.code

    def __init__(self, what: str, where: str = "", hint: str = "") -> None:
        super().__init__("; ".join(_shortened(" ".join(part.split())) for part in (what, where, hint) if part))


def _shortened(part: str) -> str:
    return part if len(part) <= LONGEST else f"{part[: LONGEST - 200]} ... {part[-100:]}"


class ConfigError(GenlabError, code=2):
    """The command line or a configuration file is wrong."""


class RankError(ConfigError):
    """The environment that should say which rank this process is; each process that finds it wrong says so."""


class DataError(GenlabError, code=3):
    """A data file is missing, damaged or of another format than expected."""


class CheckpointError(GenlabError, code=4):
    """A checkpoint or run folder is damaged, or belongs to another configuration."""


class ResourceError(GenlabError, code=5):
    """Out of disk or memory, or a device was lost."""


class PeerError(ResourceError):
    """Another process of this run has ended; that process reports the reason."""


class DivergedError(GenlabError, code=6):
    """A loss or gradient is no longer finite."""


class BusyError(GenlabError, code=7):
    """Another process is using the run folder."""


class SweepError(GenlabError, code=8):
    """A sweep ended and some of its jobs failed."""


class Stopped(GenlabError):
    """A signal asked the run to stop; it saved its state and can be resumed."""

    def __init__(self, signum: int, what: str, where: str = "", hint: str = "") -> None:
        super().__init__(what, where, hint)
        self.code = 128 + signum


plugin_modules: set[str] = set()  # of loaded plug-ins; genlab.registry adds to it


def bug(error: BaseException, kept: str) -> GenlabError:
    """An unexpected exception as one line that names whose mistake it is: genlab's or a plug-in's.

    `kept` says where the traceback is.
    """
    what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    roots = {module.partition(".")[0] for module in plugin_modules}
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        root = str(frame.f_globals.get("__name__")).partition(".")[0]
        if root in roots:
            where = f"{frame.f_code.co_filename}, line {line}; {kept}"
            return GenlabError(f"a bug in plug-in '{root}': {what}", where, "correct it, or report it to its author")
        if root == "genlab":
            break
    return GenlabError(f"a bug in genlab: {what}", kept, "report it")


def first_line(error: BaseException, limit: int = 120) -> str:
    """The beginning of an exception's message; the name of its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:limit]


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` for the closest known name, upper or lower case, else the whole list of names."""
    names = sorted(known)
    folded = {each.casefold(): each for each in names}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return f"did you mean '{folded[close[0]]}'?" if close else f"choose one of: {', '.join(names) or '(none)'}"


def resource_error(error: BaseException, batch_size: int | None = None) -> ResourceError | None:
    """Out of memory or disk, or a lost device, as a ResourceError; None for anything else.

    `batch_size` is that of training, which a smaller one would help; None in commands that do not train.

    torch reports CPU and Apple GPU memory as a plain RuntimeError, so its text is read.
    """
    text = str(error)
    kind = type(error).__name__
    exhausted = "DefaultCPUAllocator" in text or "MPS backend out of memory" in text
    if isinstance(error, MemoryError) or kind == "OutOfMemoryError" or exhausted:
        if batch_size:
            where, hint = f"trainer.batch_size is {batch_size}", "use a smaller one, or trainer.grad_accum_steps=4"
            return ResourceError("out of memory", where, hint)
        return ResourceError("out of memory", "this process", "end other programs, or ask for fewer or smaller images")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return ResourceError("out of disk space", f"{error.filename or 'the run folder'}", "free some and resume")
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return ResourceError("too many open files", f"{error.filename or 'this process'}", "allow more: ulimit -n 4096")
    if kind == "AcceleratorError" or "CUDA error" in text:
        return ResourceError(f"the device was lost ({first_line(error)})", "CUDA", "resume in a new process")
    gone = "Connection closed by peer" in text or "Connection reset by peer" in text
    if os.environ.get("WORLD_SIZE", "1") != "1" and (gone or kind.startswith("Dist")):
        return PeerError("another process of this run has ended", "torchrun", "start it again to resume")
    if _no_address_space(error):
        return ResourceError("out of address space", "this process", "allow it more: ulimit -v unlimited")
    return None


def raise_if_exhausted(error: BaseException) -> None:
    """Raise `resource_error(error)` if there is one: what could not be read for want of a resource is not damaged."""
    known = resource_error(error)
    if known:
        raise known from error


def _no_address_space(error: BaseException) -> bool:
    """Whether loaders or threads say so, or else 64 MB cannot be reserved now: libraries fail in many ways without."""
    try:
        bytearray(2**26)  # untouched, so it takes no memory
    except MemoryError:
        return True
    return getattr(error, "errno", None) == errno.ENOMEM or any(sign in str(error) for sign in ADDRESS_SPACE)


def path_error(error: BaseException) -> ConfigError | None:
    """A path that the system refuses, as a ConfigError; None for anything else, a missing file included."""
    if isinstance(error, OSError) and error.errno in REFUSED and error.filename is not None:
        path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else error.filename
        return ConfigError(f"a path cannot be used ({error.strerror})", f"{path}", "check it and its permissions")
    return None
