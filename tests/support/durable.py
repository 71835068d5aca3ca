"""Helpers of the durability tests: children that may die, checkpoints small enough to damage by the hundred."""

from __future__ import annotations

import hashlib
import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.checkpoint.manager import Checkpoints

# everything in genlab.checkpoint.manager that changes the disk goes through one of these
OPERATIONS = ("mkdir", "open", "write", "fsync", "rename", "replace", "unlink", "rmdir")


def in_child(action: Callable[[], object]) -> int:
    """Run `action` in a forked child: its exit code, or minus the signal that ended it. 99 is an exception."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def content(step: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What the tests save at `step`: different at every step."""
    generator = torch.Generator().manual_seed(step)
    tensors = {
        "weight": torch.randn(7, 5, generator=generator),
        "steps": torch.tensor(float(step)),
        "rng": torch.arange(16, dtype=torch.uint8) + step,
    }
    return tensors, {"lr": 0.1 / (step + 1), "best": float("inf"), "pairs": ((1, None), [True])}


def save(checkpoints: Checkpoints, step: int) -> Path:
    return checkpoints.save(step, *content(step))


def is_intact(loaded: Any) -> bool:
    """Whether a loaded checkpoint is exactly what `save` put there."""
    tensors, state = content(loaded.step)
    same = all(torch.equal(loaded.tensors[name], tensor) for name, tensor in tensors.items())
    return same and loaded.tensors.keys() == tensors.keys() and loaded.state == state


def hooked(patch: pytest.MonkeyPatch, hook: Callable[[str, str], None]) -> None:
    """Call `hook("before", operation)` before each operation on the disk, and `hook("half", "write")` inside a write.

    After one operation is before the next: the disk is the same at both.
    """
    halved: set[int] = set()
    for name in OPERATIONS:
        original = getattr(os, name)

        def replacement(*args: Any, _name: str = name, _original: Any = original, **kwargs: Any) -> Any:
            if (_name == "open" and not args[1] & os.O_CREAT) or args[0] in (1, 2):  # the streams
                return _original(*args, **kwargs)
            hook("before", _name)
            if _name == "write" and args[0] not in halved:
                halved.add(args[0])
                half = _original(args[0], args[1][: len(args[1]) // 2])
                hook("half", _name)
                return half  # a short write: the caller must go on with the rest
            result = _original(*args, **kwargs)
            if _name == "open":
                halved.discard(result)
            return result

        patch.setattr(os, name, replacement)


def forge(folder: Path, tensors: bytes, state: bytes) -> Path:
    """A checkpoint folder with these bytes and a manifest that fits them: only the parsers stand between."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"state.json": state, "tensors.safetensors": tensors}
    entries = {name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "files": entries}, indent=1))
    return folder


def everything(folder: Path) -> list[str]:
    """All that lies below, by relative path."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
