"""Gradients of one player's loss that another player's depend on: consensus optimisation and unrolling.

In float32, and over the global batch: a gradient that stands in a square or is followed by a step must be that of all
ranks. torch.compile has no second derivative and leaves these functions out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from genlab.core.uncompiled import Uncompiled
from genlab.distributed.batch_norm import global_mean

Weights = dict[str, Tensor]


class Bound(nn.Module):
    """A function that calls `module`, as a module's own forward: what functional_call takes."""

    def __init__(self, module: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.module, self._function = module, (function,)  # in a tuple: it may be the module itself

    def forward(self, *arguments: Any) -> Any:
        return self._function[0](*arguments)


def with_weights(module: nn.Module, weights: Mapping[str, Tensor], function: Callable[..., Any], *given: Any) -> Any:
    """`function(*given)`, while `module` has these in place of its parameters of the same names."""
    return functional_call(Bound(module, function), {f"module.{name}": each for name, each in weights.items()}, given)


def movable(module: nn.Module) -> Weights:
    """The parameters of a module; those whose player is not moving, as copies that take gradients too."""
    return {name: p if p.requires_grad else p.detach().requires_grad_() for name, p in module.named_parameters()}


def global_gradient(loss: Tensor, weights: Sequence[Tensor], learns: bool, training: bool) -> list[Tensor]:
    """The gradient of a batch's mean loss over all ranks, differentiable if it `learns`."""
    gradients = torch.autograd.grad(loss, weights, create_graph=learns)
    flat = global_mean(torch.cat([gradient.flatten() for gradient in gradients])[None], training)
    parts = flat.split([each.numel() for each in weights])
    return [part.view(each.shape) for part, each in zip(parts, weights, strict=True)]


@Uncompiled
def field_energy(model: nn.Module, losses: Callable[[], tuple[Tensor, Tensor]], players: Sequence[nn.Module]) -> Tensor:
    """½‖v‖², v the joint gradient field: ∇L_i in the weights of player i, of `losses()` in the order of `players`.

    Mescheder, Nowozin & Geiger, NeurIPS 2017 (arXiv:1705.10461), eq. 12.
    """
    learns, device = torch.is_grad_enabled(), next(model.parameters()).device.type
    with torch.enable_grad(), torch.autocast(device, enabled=False):
        weights = movable(model)
        own = {id(p): name for name, p in model.named_parameters()}
        energy = torch.zeros((), device=next(iter(weights.values())).device)
        for loss, player in zip(with_weights(model, weights, losses), players, strict=True):
            mine = [weights[own[id(p)]] for p in player.parameters()]
            for part in global_gradient(loss, mine, True, model.training):
                energy = energy + 0.5 * part.square().sum()
    return energy if learns else energy.detach()


@Uncompiled
def unrolled(module: nn.Module, loss: Callable[[], Tensor], steps: int, rate: float, training: bool) -> Weights:
    """ψ_k of ψ_0 = the weights of `module`, ψ_{i+1} = ψ_i − η∇L(ψ_i), as functions of all that the loss depends on.

    Metz, Poole, Pfau & Sohl-Dickstein, ICLR 2017 (arXiv:1611.02163), eq. 7.
    """
    learns, weights = torch.is_grad_enabled(), movable(module)
    device = next(module.parameters()).device.type
    with torch.enable_grad(), torch.autocast(device, enabled=False):
        for _ in range(steps):
            value = with_weights(module, weights, loss)
            gradients = global_gradient(value, list(weights.values()), learns, training)
            weights = {name: p - rate * g for (name, p), g in zip(weights.items(), gradients, strict=True)}
            if not learns:
                weights = {name: p.detach().requires_grad_() for name, p in weights.items()}
    return weights
