"""`genlab train dry_run=true`: what a run would be, from one step that is really made, and no run folder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from genlab.workflows.session import Job


@dataclass(frozen=True)
class Report:
    """The seconds of one step, and what is shown: printed, it is the table `lines`."""

    step_seconds: float
    lines: list[tuple[str, str]]

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self.lines)
        table = "\n".join(f"{name:<{width}}  {value}" for name, value in self.lines)
        return f"{table}\n(dry run: no run folder was made)"


def rehearse(job: Job) -> Report:
    """Make two steps of `job` (a warm-up and a measured one) and count what they hold."""
    from genlab.workflows.build import parameter_counts

    trainer, model, data = job.trainer, job.model, job.data
    model.train()
    held: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        try:
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        except RuntimeError:  # inside a forward derivative (torch.func) a tensor wraps another and has no storage
            held[-id(tensor)] = tensor.nbytes
        return tensor

    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        trainer.train_step()
    trainer.runtime.synchronize()
    began = time.perf_counter()
    values = trainer.train_step()
    trainer.runtime.synchronize()
    seconds = time.perf_counter() - began

    activations = sum(size for pointer, size in held.items() if pointer not in own)
    state = _state_bytes(trainer.objects())
    gradients = sum(p.numel() * p.element_size() for p in model.parameters())
    resident = data.nbytes if data.resident else 0
    counts = parameter_counts(model)
    batch = job.config["trainer"]["batch_size"]
    shapes = [
        (name, " × ".join(map(str, t.shape))) for name, t in zip(model.inputs, trainer.batches.at(0), strict=True)
    ]
    lines = [
        ("model", f"{job.config['model']['name']} ({type(model).__name__})"),
        *((f"batch of '{name}'", shape) for name, shape in shapes),
        *((f"parameters of {name}", f"{count:,}") for name, count in counts.items()),
        ("parameters in all", f"{sum(counts.values()):,}"),
        ("data", f"{data.name}: " + ", ".join(f"{count:,} {name}" for name, count in data.sizes().items())),
        ("length", f"{trainer.total:,} steps, {trainer.total / trainer.batches.per_epoch:.1f} epochs"),
        ("weights, optimizer, average", megabytes(state)),
        ("gradients", megabytes(gradients)),
        ("activations of a step", megabytes(activations)),
        ("data kept on the device", megabytes(resident)),
        ("memory in all, about", megabytes(state + gradients + activations + resident)),
        ("one step, measured", f"{seconds * 1e3:.1f} ms, {batch / seconds:,.0f} images/s on {job.runtime.device}"),
        ("the whole run, about", f"{seconds * trainer.total / 60:.1f} minutes and what is logged"),
        ("first losses", ", ".join(f"{name} {float(value):.4g}" for name, value in values.items())),
    ]
    return Report(seconds, lines)


def megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def _state_bytes(objects: dict[str, Any]) -> int:
    from genlab.checkpoint import manager

    tensors, _ = manager.pack(objects)
    return sum(tensor.nbytes for tensor in tensors.values())
