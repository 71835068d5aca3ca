"""Two processes of one run, forked from a test: gloo over a file, no command line, no new interpreter."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from genlab.core import rng
from genlab.distributed.runtime import Runtime
from tests.support.processes import PATIENCE, wait

Work = Callable[[Runtime], Any]


def among(world_size: int, folder: Path, work: Work) -> list[Any]:
    """What `work` returns in each of `world_size` ranks: tensors, numbers, text. AssertionError if one fails."""
    folder.mkdir(exist_ok=True)
    pids = [_fork(rank, world_size, folder, work) for rank in range(world_size)]
    codes = [wait(pid) for pid in pids]
    errors = "\n".join(path.read_text() for path in sorted(folder.glob("error-*")))
    assert codes == [0] * world_size, f"{codes}\n{errors}"
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(world_size)]


def _fork(rank: int, world_size: int, folder: Path, work: Work) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        torch.set_num_threads(1)
        store = dist.FileStore(str(folder / "store"), world_size)
        dist.init_process_group(
            "gloo", store=store, rank=rank, world_size=world_size, timeout=timedelta(seconds=PATIENCE)
        )
        rng.set_rank(rank, world_size)
        result = work(Runtime(torch.device("cpu"), "fp32", rank, world_size))
        torch.save(result, folder / f"rank-{rank}.pt")
        if dist.is_initialized():
            dist.destroy_process_group()
        code = 0
    except BaseException:
        (folder / f"error-{rank}").write_text(traceback.format_exc())
    os._exit(code)
