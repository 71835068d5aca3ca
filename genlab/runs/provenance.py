"""Provenance of a run: the state of the code and the versions of the libraries, which are not imported."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import socket
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from genlab.utils.subprocesses import cores

PACKAGES = ("genlab", "torch", "torchvision", "numpy", "hydra-core", "omegaconf", "safetensors", "scikit-learn",
            "tensorboard", "pydantic", "pillow")  # fmt: skip
GIT_SECONDS = 5.0


def versions() -> dict[str, str]:
    """Version of Python and of each package that is installed and can change a result."""
    return dict(_versions())


@functools.cache  # a process keeps the versions it has loaded
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state(folder: Path = Path()) -> dict[str, Any] | None:
    """`{"commit": hash, "dirty": bool}` of the checkout that `folder` lies in; None outside one, or without git.

    `dirty` looks at tracked files only: outputs lie in the checkout too.
    """
    # fsmonitor would run a program named in the checkout's own configuration; locks would disturb the user's git
    command = ["git", "-c", "core.fsmonitor=false", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        answer = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=GIT_SECONDS,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = answer.stdout.splitlines()
    commits = [line.removeprefix("# branch.oid ") for line in lines if line.startswith("# branch.oid ")]
    if answer.returncode != 0 or not commits or commits[0] == "(initial)":
        return None
    return {"commit": commits[0], "dirty": any(not line.startswith("#") for line in lines)}


def processor() -> str:
    """The name of the processor."""
    with contextlib.suppress(OSError):
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if names:
            return str(names[0])
    return platform.processor() or platform.machine()


def machine() -> str:
    """The processor and the cores that this process may use."""
    return f"{processor()}, {cores()} cores"


def process_info() -> dict[str, Any]:
    """Which process is running this, on which machine."""
    return {"pid": os.getpid(), "host": socket.gethostname()}


def config_hash(config: Mapping[str, Any]) -> str:
    """A hash of the resolved configuration, 16 hex digits, independent of the order of keys."""
    text = json.dumps(config, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
