"""Device, precision, determinism and ranks: everything that a model file leaves to the engine."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from genlab.core import rng
from genlab.distributed import allocator, cpu_threads
from genlab.distributed.ranks import Ranks, from_environment
from genlab.errors import ConfigError, RankError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Runtime:
    """Device, precision, and the rank of this process among `world_size`."""

    device: torch.device
    precision: str = "fp32"
    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, the only process that writes files."""
        return self.rank == 0

    @property
    def asynchronous(self) -> bool:
        """Whether steps are queued on the device without waiting for values: on CUDA only."""
        return self.device.type == "cuda"

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which networks run: half precision if `precision` asks for it."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=DTYPES[self.precision])

    def channels_last(self, wanted: bool | Literal["auto"], model: nn.Module, batch_size: int) -> bool:
        """Whether images lie in memory with their channels last (NHWC), in a run with `batch_size` over all ranks.

        `auto` is true for a model with convolutions, on a CPU with more than one image at a time (benchmarks/) and in
        half precision on CUDA; in float32 the best kernels of cuDNN and Metal are for channels first, as those of a
        CPU for a single image are.
        """
        if wanted != "auto":
            return wanted
        convolves = any(isinstance(module, nn.Conv2d | nn.ConvTranspose2d) for module in model.modules())
        if self.device.type == "cpu":
            return convolves and batch_size > 1
        return convolves and self.device.type == "cuda" and self.precision != "fp32"

    def scaler(self) -> torch.amp.GradScaler | None:
        """A loss scaler, one per optimizer, under fp16, where gradients underflow; else None."""
        return torch.amp.GradScaler(self.device.type) if self.precision == "fp16" else None

    def synchronize(self) -> None:
        """Wait until the device has finished its queue; only for measurements and logs."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def average(self, parameters: Iterable[nn.Parameter], loss: Tensor, flat: Tensor | None) -> tuple[Tensor, Tensor]:
        """Replace gradients by their mean over ranks, in one all-reduce of a flat buffer: the mean loss, the buffer.

        `flat` is the buffer of the previous step, reused if it fits. A loss that is not finite on one rank becomes so
        on all ranks: they stop together.
        """
        gradients = [p.grad for p in parameters if p.grad is not None]
        sizes = [g.numel() for g in gradients]
        if flat is None or len(flat) != sum(sizes) + 1:
            flat = loss.new_empty(sum(sizes) + 1, dtype=gradients[0].dtype)
        torch.cat([*(g.reshape(-1) for g in gradients), loss.detach().reshape(1)], out=flat)
        dist.all_reduce(flat)
        flat /= self.world_size
        parts = flat[:-1].split(sizes)
        torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])
        return flat[-1].clone(), flat

    def mean(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """The mean over ranks of scalars to be logged."""
        if self.world_size == 1 or not values:  # no phase was due at this step: so it is on every rank
            return values
        stacked = torch.stack([value.detach().float() for value in values.values()])
        dist.all_reduce(stacked)
        return dict(zip(values, stacked / self.world_size, strict=True))

    def all_reduce_max(self, numbers: list[float]) -> list[float]:
        """The largest of each number over ranks; waits for all of them."""
        table = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        dist.all_reduce(table, op=dist.ReduceOp.MAX)
        return table.tolist()

    def all_reduce_sum(self, sums: dict[str, Tensor], count: int) -> tuple[dict[str, float], float]:
        """Named sums and a count, summed over ranks. A rank without data passes an empty `sums`."""
        names = self.broadcast(list(sums))
        own = [sums[name].double() if name in sums else 0.0 for name in names]
        table = torch.tensor([*own, count], dtype=torch.float64, device=self.device)
        dist.all_reduce(table)
        *totals, everything = table.tolist()
        return dict(zip(names, totals, strict=True)), everything

    def gather(self, columns: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The samples of all ranks, equally many from each, in the order of the global batch."""
        if self.world_size == 1:
            return columns
        return tuple(self._gathered(column.detach().contiguous()) for column in columns)

    def _gathered(self, column: Tensor) -> Tensor:
        parts = [torch.empty_like(column) for _ in range(self.world_size)]
        dist.all_gather(parts, column)
        return torch.cat(parts)

    def broadcast(self, value: Any) -> Any:
        """A small object of rank 0, on every rank."""
        if self.world_size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]


def start(
    device: str, precision: str, deterministic: bool, threads: int | Literal["auto"], devices: int = 1
) -> Runtime:
    """Settle device, precision, threads and ranks (torchrun's environment) for this process.

    ConfigError, the same on every rank, if the request does not fit the machine.
    """
    ranks = from_environment()
    check_ranks(device, devices, ranks)
    rank, world_size = ranks.rank, ranks.world_size
    chosen = choose_device(device, ranks.local_rank, world_size)
    if threads == "auto":
        threads = cpu_threads.choose(torch.get_num_threads(), repeatable=deterministic)
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    _only_deterministic(deterministic)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    else:
        allocator.keep_freed_memory()
    if world_size > 1 and not dist.is_initialized():
        _join("nccl" if chosen.type == "cuda" else "gloo")
    rng.set_rank(rank, world_size)
    return Runtime(chosen, choose_precision(precision, chosen), rank, world_size)


def _join(backend: str) -> None:
    """Wait until every rank has joined the process group."""
    try:
        dist.init_process_group(backend, timeout=timedelta(minutes=30))
    except dist.DistNetworkError as error:
        if "EADDRINUSE" not in str(error):
            raise
        port = os.environ["MASTER_PORT"]
        raise RankError(f"port {port} is in use", "MASTER_PORT", "end what uses it, or choose another port") from error


def check_ranks(device: str, devices: int, ranks: Ranks) -> None:
    """ConfigError unless the processes on this host are `devices` (1: whatever they are) and each has its own GPU."""
    if "WORLD_SIZE" not in os.environ:
        if devices > 1:
            raise ConfigError(
                "this is one process, and only the command starts others",
                f"key trainer.devices={devices}",
                "use `genlab train` or `genlab resume`, or start it under torchrun",
            )
        return
    here = ranks.local_world_size or devices
    if devices not in (1, here):
        raise ConfigError(
            f"torchrun has started {here} process(es) on this host",
            f"key trainer.devices={devices}",
            "leave trainer.devices=1 under torchrun",
        )
    if here == 1 or device == "cpu" or not torch.cuda.is_available():
        return
    if ":" in device:
        raise ConfigError(f"{here} processes cannot share {device}", "--device", "use --device cuda")
    count = torch.cuda.device_count()
    if here > count:
        raise ConfigError(
            f"{here} processes and {count} CUDA device(s)",
            "key trainer.devices",
            f"use trainer.devices={count}, or --device cpu",
        )


def choose_device(device: str, local_rank: int = 0, world_size: int = 1) -> torch.device:
    """`auto` is CUDA (each rank its own GPU), else an Apple GPU, else the CPU; ConfigError if a device is missing.

    An Apple GPU serves one process: with several ranks `auto` skips it.
    """
    if device == "auto":
        apple = "mps" if torch.backends.mps.is_available() and world_size == 1 else "cpu"
        device = f"cuda:{local_rank}" if torch.cuda.is_available() else apple
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", device):
        raise ConfigError(f"unknown device '{device}'", "--device", "choose one of: auto, cpu, mps, cuda, cuda:N")
    chosen = torch.device(device)
    if chosen.type == "mps":
        if not torch.backends.mps.is_available():
            raise ConfigError("this machine has no Apple GPU that torch can use", "--device", "use --device auto")
        if world_size > 1:
            raise ConfigError(f"{world_size} processes cannot share mps", "--device", "use --device cpu")
    if chosen.type == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError(
                "this machine has no CUDA device that torch can use",
                "--device",
                "run `genlab doctor`, or use --device cpu",
            )
        chosen = torch.device("cuda", local_rank if chosen.index is None else chosen.index)
        if chosen.index >= torch.cuda.device_count():
            raise ConfigError(
                f"there are {torch.cuda.device_count()} CUDA devices",
                f"--device {device}",
                f"choose cuda:0 to cuda:{torch.cuda.device_count() - 1}",
            )
    return chosen


def choose_precision(precision: str, device: torch.device) -> str:
    """`auto` is bf16 on a CUDA GPU that has it, fp16 on another, and fp32 on an Apple GPU or a CPU."""
    if precision == "auto":
        if device.type != "cuda":
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError("fp16 has no use on a CPU", "key trainer.precision", "use bf16 or fp32")
    if precision == "bf16" and device.type == "mps" and not torch.backends.mps.is_macos_or_newer(14, 0):
        raise ConfigError("bf16 on an Apple GPU needs macOS 14", "key trainer.precision", "use fp16 or fp32")
    return precision


def stop() -> None:
    """Leave the process group, if there is one, and restore the global settings that `start` changed."""
    torch.set_flush_denormal(False)
    allocator.give_back()
    _only_deterministic(False)
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
    rng.set_rank(0, 1)


def _only_deterministic(wanted: bool) -> None:
    if (
        wanted != torch.are_deterministic_algorithms_enabled()
    ):  # the call imports torch's compiler, which takes a second
        torch.use_deterministic_algorithms(wanted)
