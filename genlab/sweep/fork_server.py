"""The sweep as a fork server: everything that a run imports is imported once, and nothing is started.

A fork copies memory and one thread. So this process may hold no thread pool and no open GPU when a job is forked:
`refusal` looks, whatever a plug-in may have done.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import threading
from pathlib import Path

# What a run with the shipped loggers and evaluators imports when it first needs it; a test keeps the list whole.
FIRST_USES = ("genlab.workflows.train", "genlab.distributed.launcher", "genlab.utils.tables",
              "torch.nested._internal.nested_tensor", "rich.live", "rich.progress", "rich.table",
              "numpy.ma", "numpy.ctypeslib", "torch.utils.tensorboard.summary",
              "tensorboard.compat.proto.event_pb2", "tensorboard.plugins.hparams.metadata",
              "tensorboard.summary.writer.record_writer")  # fmt: skip


def warm() -> None:
    """Import what a run needs. No tensor of more than one element is made: no parallel region may run here."""
    import torch
    from PIL import Image

    from genlab.registry import OPTIMIZERS, discover
    from genlab.runs.provenance import versions

    for name in FIRST_USES:
        importlib.import_module(name)
    discover()
    versions()
    Image.preinit()
    OPTIMIZERS.build({"name": "adam"}, params=[torch.zeros(1, requires_grad=True)])  # whatever its construction imports
    gc.freeze()  # what is here stays, in memory that all jobs share: no collection writes to it


def refusal() -> str | None:
    """Why a job must not be forked from this process; None if it may."""
    if sys.platform != "linux":
        return f"a process that has loaded torch cannot be forked safely on {sys.platform}"
    if threading.active_count() > 1:
        return "a plug-in has started a thread"
    if _uses_gpu():
        return "a plug-in has used the GPU"
    _fork_once()
    if len(os.listdir("/proc/self/task")) > 1:
        return "a library has started threads"
    return None


def _uses_gpu() -> bool:
    """Whether a driver is open here: a forked child could not use the GPU."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.append(os.readlink(entry))
        except OSError:  # the descriptor of this very listing
            continue
    torch = sys.modules.get("torch")
    return any(link.startswith("/dev/nvidia") for link in links) or (torch is not None and torch.cuda.is_initialized())


def _fork_once() -> None:
    """A fork without a job: libraries that know of forks (OpenBLAS) end their threads for it. What stays does not."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
