"""How much memory is free."""

from __future__ import annotations

import torch

from genlab.utils.memory import free_host_memory


def free_memory(device: torch.device) -> int:
    """Free bytes on a CUDA device; else the host's available RAM, or a container's limit if that is lower."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_host_memory()
