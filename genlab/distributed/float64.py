"""float64 for devices without it: an Apple GPU (mps) computes in float32 at most."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from genlab.errors import ConfigError


class Float64OnHost(TorchFunctionMode):
    """Inside, `.double()` of an mps tensor, and a float64 tensor created on mps, are on the CPU instead."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function is Tensor.double and args[0].device.type == "mps":
            args = [args[0].cpu()]
        elif kwargs.get("dtype") is torch.float64 and torch.device(kwargs.get("device") or "cpu").type == "mps":
            kwargs["device"] = "cpu"
        return function(*args, **kwargs)


def float64_on_host(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """The context for float64 sums over tensors on `device`; it changes nothing on a device that has float64."""
    return Float64OnHost() if device.type == "mps" else contextlib.nullcontext()


def check_float64(model: nn.Module, device: torch.device) -> None:
    """ConfigError if `model` (PCA, k-means) holds float64 sums and `device` has no float64."""
    if device.type == "mps" and any(buffer.dtype == torch.float64 for buffer in model.buffers()):
        raise ConfigError(
            f"{type(model).__name__} sums in float64, which an Apple GPU does not have", "device mps", "use device cpu"
        )
