"""The sweep as a fork server: it imports all that a run needs once, and starts no thread.

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

# Modules that a run with the shipped loggers and evaluators imports late; a test keeps the list complete.
FIRST_USES = ("genlab.workflows.train", "genlab.distributed.launcher", "genlab.utils.tables", "pydantic.dataclasses",
              "genlab.config.trusted", "platformdirs",
              "torch.nested._internal.nested_tensor", "rich.live", "rich.progress", "rich.table",
              "numpy.ma", "numpy.ctypeslib", "torch.utils.tensorboard.summary",
              "tensorboard.compat.proto.event_pb2", "tensorboard.plugins.hparams.metadata",
              "tensorboard.summary.writer.record_writer")  # fmt: skip


def warm() -> None:
    """Import what a run needs. Tensors have one element, because no parallel region may run here."""
    import torch
    from PIL import Image

    from genlab.registry import OPTIMIZERS, discover
    from genlab.runs.provenance import versions

    for name in FIRST_USES:
        importlib.import_module(name)
    discover()
    versions()
    Image.preinit()
    OPTIMIZERS.build({"name": "adam"}, params=[torch.zeros(1, requires_grad=True)])  # for its imports
    gc.freeze()  # keeps these objects in memory that all jobs share: no collection writes to them


def refusal() -> str | None:
    """Why no job may be forked from this process, or None."""
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
    """Whether this process has opened a GPU, which a forked child could not use."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.append(os.readlink(entry))
        except OSError:  # the descriptor of this very listing
            continue
    torch = sys.modules.get("torch")
    return any(link.startswith("/dev/nvidia") for link in links) or (torch is not None and torch.cuda.is_initialized())


def _fork_once() -> None:
    """Fork once without a job: libraries that handle forks (OpenBLAS) end their threads."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
