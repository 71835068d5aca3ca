"""Unrolled GANs and consensus optimization: losses that contain gradients of the other network's loss.

In float32 and over the global batch: a gradient that is squared, or followed by a step, must be that of all ranks.
torch.compile has no second derivative and leaves these functions uncompiled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from genlab.core.global_batch import global_mean
from genlab.core.uncompiled import Uncompiled
from genlab.nn.losses.gradient_penalties import Values
from genlab.registry import REGULARIZERS, PositiveFloat, PositiveInt

Weights = dict[str, Tensor]


class Bound(nn.Module):
    """A function that calls `module`, as the forward of a module: what functional_call takes."""

    def __init__(self, module: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.module, self._function = module, (function,)  # in a tuple: it may be the module itself

    def forward(self, *arguments: Any) -> Any:
        return self._function[0](*arguments)


def with_weights(module: nn.Module, weights: Weights, function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)`, while `weights` replace the parameters of `module` with the same names."""
    replaced = {f"module.{name}": each for name, each in weights.items()}
    return functional_call(Bound(module, function), replaced, arguments)


def differentiable(module: nn.Module) -> Weights:
    """The parameters of a module; copies that require gradients in place of those that do not."""
    return {name: p if p.requires_grad else p.detach().requires_grad_() for name, p in module.named_parameters()}


def global_gradient(loss: Tensor, weights: Sequence[Tensor], learns: bool, training: bool) -> list[Tensor]:
    """The gradient of a batch's mean loss over all ranks, differentiable if it `learns`."""
    gradients = torch.autograd.grad(loss, weights, create_graph=learns)
    flat = global_mean(torch.cat([gradient.flatten() for gradient in gradients])[None], training)
    parts = flat.split([each.numel() for each in weights])
    return [part.view(each.shape) for part, each in zip(parts, weights, strict=True)]


@Uncompiled
def field_energy(model: nn.Module, losses: Callable[[], Sequence[Tensor]], networks: Sequence[nn.Module]) -> Tensor:
    """½‖v‖², v the joint gradient field: the gradient of the i-th of `losses()` in the weights of the i-th network.

    Mescheder, Nowozin & Geiger, NeurIPS 2017 (arXiv:1705.10461), eq. 12.
    """
    learns, device = torch.is_grad_enabled(), next(model.parameters()).device.type
    with torch.enable_grad(), torch.autocast(device, enabled=False):
        weights = differentiable(model)
        names = {id(p): name for name, p in model.named_parameters()}
        energy = torch.zeros((), device=next(iter(weights.values())).device)
        for loss, network in zip(with_weights(model, weights, losses), networks, strict=True):
            own = [weights[names[id(p)]] for p in network.parameters()]
            for part in global_gradient(loss, own, True, model.training):
                energy = energy + 0.5 * part.square().sum()
    return energy if learns else energy.detach()


@Uncompiled
def unrolled(module: nn.Module, loss: Callable[[], Tensor], steps: int, rate: float, training: bool) -> Weights:
    """ψ_k of ψ_0 = the weights of `module`, ψ_{i+1} = ψ_i − η∇L(ψ_i), as functions of all that the loss depends on.

    Metz, Poole, Pfau & Sohl-Dickstein, ICLR 2017 (arXiv:1611.02163), eq. 7.
    """
    learns, weights = torch.is_grad_enabled(), differentiable(module)
    device = next(module.parameters()).device.type
    with torch.enable_grad(), torch.autocast(device, enabled=False):
        for _ in range(steps):
            value = with_weights(module, weights, loss)
            gradients = global_gradient(value, list(weights.values()), learns, training)
            weights = {name: p - rate * g for (name, p), g in zip(weights.items(), gradients, strict=True)}
            if not learns:
                weights = {name: p.detach().requires_grad_() for name, p in weights.items()}
    return weights


def discriminator_loss(gan: Any, real: Tensor, fake: Tensor, *conditions: Tensor) -> Tensor:
    """The discriminator's loss without penalties, in float32, as a function of the weights of both networks."""
    on_real, on_fake = (gan.discriminator_logits(images.float(), *conditions) for images in (real, fake))
    loss: Tensor = gan.gan_loss.discriminator(on_real, on_fake)
    return loss


@REGULARIZERS("unroll")
class Unroll:
    """The generator is trained against the discriminator as it would be after `steps` gradient steps of size `rate`.

    Metz, Poole, Pfau & Sohl-Dickstein, Unrolled Generative Adversarial Networks, ICLR 2017 (arXiv:1611.02163), eq. 7
    to 9. The steps are plain gradient descent, where the authors unroll Adam: they diverge if `rate` exceeds 2 over the
    largest curvature of the discriminator's loss.
    """

    def __init__(self, steps: PositiveInt = 5, rate: PositiveFloat = 1e-3) -> None:
        self.steps, self.rate = steps, rate

    def unrolled(self, gan: Any, loss: Callable[..., Values], *shared: Tensor) -> Values:
        """The values of the generator's `loss`, against the unrolled discriminator."""
        inner_loss = partial(discriminator_loss, gan, *shared)
        weights = unrolled(gan.discriminator, inner_loss, self.steps, self.rate, gan.training)
        values: Values = with_weights(gan.discriminator, weights, self._ahead, gan, loss, *shared)
        return values

    @staticmethod
    def _ahead(gan: Any, loss: Callable[..., Values], real: Tensor, fake: Tensor, *conditions: Tensor) -> Values:
        """Equation 8. The unrolled weights depend on the fakes, so these also decide how well real images are known.

        The discriminator knows those best that have no fakes nearby: this is where the generator pays for a missing
        mode.
        """
        values = loss(real, fake, *conditions)
        if gan.gan_loss.real:
            values["loss"] = values["loss"] - gan.gan_loss.real(gan.discriminator_logits(real, *conditions))
        return values


@REGULARIZERS("consensus")
class Consensus:
    """Both networks also descend γ·½‖v‖², v the gradients of each loss in its own network; `weight` is γ.

    Mescheder, Nowozin & Geiger, The Numerics of GANs, NeurIPS 2017 (arXiv:1705.10461), eq. 13.
    """

    def __init__(self, weight: PositiveFloat = 10.0) -> None:
        self.weight = weight

    def added(self, gan: Any, loss: Callable[..., Values], real: Tensor, fake: Tensor, *conditions: Tensor) -> Values:
        """The values of either network's `loss`, with γ·½‖v‖² for new fakes added."""
        values, code = loss(real, fake, *conditions), gan.prior(len(real))

        def losses() -> tuple[Tensor, Tensor]:
            fake = gan.fakes(code, *conditions)
            of_discriminator = discriminator_loss(gan, real, fake, *conditions)
            return of_discriminator, gan.generator_loss(real.float(), fake, *conditions)["loss"]

        energy = field_energy(gan, losses, (gan.discriminator, gan.generator))
        return {**values, "loss": values["loss"] + self.weight * energy}
