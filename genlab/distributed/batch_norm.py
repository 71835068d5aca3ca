"""Batch normalization over the global batch, when several processes share it.

torch.nn.SyncBatchNorm refuses the CPU and cannot be differentiated twice; this one runs under gloo and NCCL alike
and is plain differentiable arithmetic, so gradient penalties work too. A model file says nn.BatchNorm2d and never
knows: the engine converts its layers in place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from genlab.core.global_batch import global_sum
from genlab.errors import ConfigError


def global_moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance of each channel over all ranks' x (N, C, ...), and the count of a channel's values.

    One collective: each rank puts its own moments into its row of a table of zeros, and the tables are added. They
    are joined without the cancellation of E[x²] − E[x]² (Chan, Golub & LeVeque 1979, eq. 2.1).
    """
    rest = [d for d in range(x.ndim) if d != 1]
    mean = x.mean(rest)
    # in two passes: torch.var_mean gives the same, at two to ten times the price on a CPU
    variance = (x - mean.view([1, -1] + [1] * (x.ndim - 2))).square().mean(rest)
    own = torch.cat([mean, variance, mean.new_full((1,), x.numel() / x.shape[1])])
    rank, world_size = dist.get_rank(), dist.get_world_size()
    table = global_sum(nn.functional.pad(own[None], (0, 0, rank, world_size - 1 - rank)))
    means, variances, counts = table.split([len(mean), len(mean), 1], dim=1)
    count = counts.sum()
    shares = counts / count
    mean = (shares * means).sum(0)
    variance = (shares * (variances + (means - mean).square())).sum(0)
    return mean, variance, count


class _Synchronized(_BatchNorm):
    """As its parent in evaluation; in training the statistics are those of the global batch, in fp32."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        with torch.autocast(input.device.type, enabled=False):
            x = input if input.dtype == torch.float64 else input.float()
            mean, variance, count = global_moments(x)
            self._follow(mean.detach(), variance.detach(), count.detach())
            scale = (variance + self.eps).rsqrt()
            if self.weight is not None:
                scale = scale * self.weight
            shift = -mean * scale if self.bias is None else self.bias - mean * scale
            shape = [1, -1] + [1] * (x.ndim - 2)
            return torch.addcmul(shift.view(shape), x, scale.view(shape)).to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the running statistics; their variance is the unbiased one, as torch's is."""
        if self.num_batches_tracked is None or self.running_mean is None or self.running_var is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = self.momentum if self.momentum is not None else self.num_batches_tracked.float().reciprocal()
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), momentum)


class BatchNorm1d(_Synchronized, nn.BatchNorm1d): ...


class BatchNorm2d(_Synchronized, nn.BatchNorm2d): ...


class BatchNorm3d(_Synchronized, nn.BatchNorm3d): ...


SYNCHRONIZED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: BatchNorm1d,
    nn.BatchNorm2d: BatchNorm2d,
    nn.BatchNorm3d: BatchNorm3d,
}


@contextlib.contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Inside, batch norms in evaluation mode use batch statistics, as in training, but update nothing."""
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    kept = [(layer.running_mean, layer.running_var) for layer in layers]
    try:
        for layer in layers:
            layer.running_mean = layer.running_var = None
        yield
    finally:
        for layer, (mean, variance) in zip(layers, kept, strict=True):
            layer.running_mean, layer.running_var = mean, variance


def synchronize(model: nn.Module) -> None:
    """Let every batch norm of `model` see the global batch. Parameters, buffers and their names stay as they are.

    The class of each layer is replaced in place, so all references to a layer remain valid. ConfigError
    for a batch norm of somebody's own making, whose forward we cannot know.
    """
    for name, module in model.named_modules():
        if type(module) in SYNCHRONIZED:
            module.__class__ = SYNCHRONIZED[type(module)]
        elif isinstance(module, _BatchNorm) and not isinstance(module, _Synchronized | nn.SyncBatchNorm):
            raise ConfigError(
                f"the layer {name} ({type(module).__name__}) cannot share its statistics with other processes",
                "key trainer.devices",
                "use one process, or nn.BatchNorm1d, 2d or 3d in that network",
            )
