"""Penalties on the gradient of a critic with respect to its images.

Always in float32: a squared gradient in half precision loses the small ones. torch.compile has no second derivative, so
it leaves these functions, and all that they call, uncompiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.uncompiled import Uncompiled
from genlab.registry import REGULARIZERS, NonNegativeFloat, OpenFraction, PositiveInt

Critic = Callable[[Tensor], Tensor]
Values = dict[str, Tensor]
EPSILON = 1e-12  # under a root, whose derivative at 0 is infinite


@Uncompiled
def logits_and_gradient(critic: Critic, images: Tensor) -> tuple[Tensor, Tensor]:
    """D(x) and ∇ₓ ΣD(x), of the shape of `images` (N, ...), float32: the sum's gradient at x_i is that of D(x_i) alone.

    Works with gradients turned off; with gradients on, the result is differentiable. If `images` depend on other
    tensors, it is also differentiable with respect to those.
    """
    learns = torch.is_grad_enabled()
    with torch.enable_grad(), torch.autocast(images.device.type, enabled=False):
        x = images.float()
        x = x if x.requires_grad else x.detach().requires_grad_()
        logits = critic(x).float()
        [gradient] = torch.autograd.grad(logits.sum(), x, create_graph=learns)
    return logits, gradient


def squared_norms(logits: Tensor, gradient: Tensor) -> Tensor:
    """‖∇D‖² for each logit: the gradients of the m images of a pack (PacGAN) count as one."""
    own = gradient.flatten(1).square().sum(1)
    if len(own) == len(logits):
        return own
    size = -(-len(own) // len(logits))
    return nn.functional.pad(own, (0, size * len(logits) - len(own))).view(-1, size).sum(1)


def squared_gradient(critic: Critic, images: Tensor) -> Tensor:
    """‖∇D(x)‖² (N,) of images (N, ...): Mescheder, Geiger & Nowozin, ICML 2018 (arXiv:1801.04406), eq. 9."""
    return squared_norms(*logits_and_gradient(critic, images))


def gradient_norm(critic: Critic, images: Tensor) -> Tensor:
    """‖∇D(x)‖ (N,), differentiable also where it is 0."""
    return (squared_gradient(critic, images) + EPSILON).sqrt()


class Penalty:
    """A term of the discriminator's loss, `weight` times the value of a call, computed in float32.

    With `every` n it is a phase of its own at each n-th step, n times as heavy: Karras et al., Analyzing and Improving
    the Image Quality of StyleGAN, CVPR 2020 (arXiv:1912.04958), section 3.1. On a CPU it takes most of a step's time.
    """

    def __init__(self, weight: NonNegativeFloat = 10.0, every: PositiveInt = 1) -> None:
        self.weight, self.every = weight, every

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor, progress: Tensor) -> Tensor:
        """The penalty on `critic`, a function from images to logits; `progress` is the fraction of training done."""
        raise NotImplementedError

    def value(self, gan: Any, real: Tensor, fake: Tensor, *conditions: Tensor) -> Tensor:
        return self(lambda images: gan.discriminator_logits(images, *conditions), real, fake.detach(), gan.progress)

    def added(self, gan: Any, name: str, loss: Callable[..., Values], *shared: Tensor) -> Values:
        """The values of the discriminator's `loss`, with this penalty added under `name`."""
        values, penalty = loss(*shared), self.value(gan, *shared)
        return {**values, "loss": values["loss"] + self.weight * penalty, name: penalty.detach()}

    def lazy(self, gan: Any, *shared: Tensor) -> Values:
        penalty = self.value(gan, *shared)
        return {"loss": self.every * self.weight * penalty, "value": penalty.detach()}


@REGULARIZERS("r1")
class R1(Penalty):
    """½E ‖∇D(x)‖² at real images; `weight` is γ. Mescheder, Geiger & Nowozin, ICML 2018 (arXiv:1801.04406), eq. 9."""

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor, progress: Tensor) -> Tensor:
        return 0.5 * squared_gradient(critic, real).mean()


@REGULARIZERS("r2")
class R2(Penalty):
    """½E ‖∇D(G(z))‖² at generated images: equation 10 of the same paper."""

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor, progress: Tensor) -> Tensor:
        return 0.5 * squared_gradient(critic, fake).mean()


@REGULARIZERS("roth")
class Roth(Penalty):
    """½E (1 − φ(x))² ‖∇ψ(x)‖² + ½E φ(G(z))² ‖∇ψ(G(z))‖², φ the probability of logit ψ; γ falls to `decay` of itself.

    Roth, Lucchi, Nowozin & Hofmann, Stabilizing Training of GANs through Regularization, NeurIPS 2017
    (arXiv:1705.09367), eq. 20 to 22: the average effect of noise on the images, for the Jensen-Shannon divergence.
    """

    def __init__(self, weight: NonNegativeFloat = 2.0, every: PositiveInt = 1, decay: OpenFraction = 0.01) -> None:
        super().__init__(weight, every)
        self.decay = decay

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor, progress: Tensor) -> Tensor:
        on_real, at_real = logits_and_gradient(critic, real)
        on_fake, at_fake = logits_and_gradient(critic, fake)
        real_term = on_real.flatten().neg().sigmoid().square() * squared_norms(on_real, at_real)
        fake_term = on_fake.flatten().sigmoid().square() * squared_norms(on_fake, at_fake)
        return 0.5 * self.decay**progress * (real_term.mean() + fake_term.mean())


@REGULARIZERS("gradient_penalty")
class GradientPenalty(Penalty):
    """E (‖∇D(x̂)‖ − 1)², x̂ on the line between a real image and a fake; `weight` is λ.

    Gulrajani, Ahmed, Arjovsky, Dumoulin & Courville, Improved Training of Wasserstein GANs, NeurIPS 2017
    (arXiv:1704.00028), eq. 3.
    """

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor, progress: Tensor) -> Tensor:
        return (gradient_norm(critic, between(real, fake)) - 1).square().mean()


def between(real: Tensor, fake: Tensor) -> Tensor:
    """εx + (1 − ε)x̃ (N, ...), ε uniform in [0, 1), one for each pair."""
    epsilon = rng.uniform(len(real), *[1] * (real.ndim - 1), like=real)
    return torch.lerp(fake.float(), real.float(), epsilon)
