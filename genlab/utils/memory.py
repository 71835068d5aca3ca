"""How much of the host's memory is free."""

from __future__ import annotations

import os
from pathlib import Path


def free_host_memory() -> int:
    """Free bytes of RAM, or what is left of a container's limit if that is less."""
    return min(_host(), _container())


def _host() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _container() -> int:
    """Bytes left under the limit of the control group."""
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        return max(0, limit - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    except (OSError, ValueError):  # no control group, or no limit ("max")
        return 2**63 - 1
