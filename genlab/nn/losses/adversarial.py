"""The adversarial losses of discriminator and generator, computed from the discriminator's logits: batch means.

D = sigmoid(logit) is the probability that an image is real, so log D = −softplus(−logit) and
log(1 − D) = −softplus(logit), in nats. Least-squares, hinge and Wasserstein losses use the logit itself as a score
without units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator
from torch import Tensor
from torch.nn.functional import relu, softplus

ALIASES = {"wgan": "wasserstein", "lsgan": "least_squares", "ragan": "relativistic"}  # papers' names
ALIASES |= dict.fromkeys(("ns", "nsgan", "bce", "gan", "vanilla", "standard"), "non_saturating")


def _suggested(name: object) -> object:
    if isinstance(name, str) and name in ALIASES:
        raise ValueError(f"did you mean '{ALIASES[name]}'?")
    return name


GANLossName = Annotated[
    Literal["non_saturating", "minimax", "least_squares", "hinge", "wasserstein", "relativistic"],
    BeforeValidator(_suggested),
]
# the losses that also train the networks that fool the discriminator, with real and fake exchanged: minimax would then
# be non_saturating, and hinge would give no gradient where the discriminator is mistaken by a margin
ExchangeableLossName = Annotated[
    Literal["non_saturating", "least_squares", "wasserstein", "relativistic"], BeforeValidator(_suggested)
]


@dataclass(frozen=True)
class GANLoss:
    """A pair of losses, both functions of logits (of real images, of fakes) of the same shape."""

    discriminator: Callable[[Tensor, Tensor], Tensor]  # of (real, fake)
    generator: Callable[[Tensor, Tensor | None], Tensor]  # of (fake, real); real may be None unless `relative`
    real: Callable[[Tensor], Tensor] | None  # the discriminator's loss on real images; None: it is not a separate term
    relative: bool = False  # whether the generator's loss depends on the logits of real images
    probability: bool = True  # whether sigmoid(logit) is a probability
    indifferent: float = 0.0  # the constant logit with the smallest discriminator loss
    # the change of the discriminator's loss if the target of real images is 1 − s; None: the loss has no targets
    smoothing: Callable[[Tensor, float], Tensor] | None = None


class Logits(NamedTuple):
    """A discriminator's logits of real and of generated images, and the loss it is trained with."""

    gan_loss: GANLoss
    real: Tensor
    fake: Tensor


def smoothing(real: Tensor, s: float) -> Tensor:
    """−(1 − s) E log D(x) − s E log(1 − D(x)), minus its value for s = 0: s times the mean logit.

    Salimans et al., Improved Techniques for Training GANs, NeurIPS 2016 (arXiv:1606.03498), section 3.4: only the
    targets of real images are smoothed; smoothed targets of fakes would reward the generator for staying where it is.
    """
    return s * real.float().mean()


def least_squares_smoothing(real: Tensor, s: float) -> Tensor:
    """½E (D(x) − 1 + s)², minus its value for s = 0."""
    return s * (real.float() - 1).mean() + 0.5 * s * s


def real_loss(real: Tensor) -> Tensor:
    """−E log D(x)."""
    return softplus(-real.float()).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """−E log D(x) − E log(1 − D(G(z))), the negative of equation 1.

    Goodfellow et al., Generative Adversarial Nets, NeurIPS 2014 (arXiv:1406.2661).
    """
    return real_loss(real) + softplus(fake.float()).mean()


def minimax_generator_loss(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """E log(1 − D(G(z))), the generator's part of equation 1: its gradient vanishes where D rejects the fakes."""
    return -softplus(fake.float()).mean()


def non_saturating_generator_loss(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """−E log D(G(z)), section 3: the same fixed point, with a strong gradient where D rejects the fakes."""
    return softplus(-fake.float()).mean()


def least_squares_real_loss(real: Tensor) -> Tensor:
    """½E (D(x) − 1)²."""
    return 0.5 * (real.float() - 1).square().mean()


def least_squares_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """½E (D(x) − 1)² + ½E D(G(z))²: Mao et al., Least Squares GANs, ICCV 2017 (arXiv:1611.04076), eq. 9."""
    return least_squares_real_loss(real) + 0.5 * fake.float().square().mean()


def least_squares_generator_loss(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """½E (D(G(z)) − 1)², equation 9."""
    return least_squares_real_loss(fake)


def hinge_real_loss(real: Tensor) -> Tensor:
    """E max(0, 1 − D(x))."""
    return relu(1 - real.float()).mean()


def hinge_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """E max(0, 1 − D(x)) + E max(0, 1 + D(G(z))): Lim & Ye, Geometric GAN, 2017 (arXiv:1705.02894)."""
    return hinge_real_loss(real) + relu(1 + fake.float()).mean()


def critic_real_loss(real: Tensor) -> Tensor:
    """−E D(x)."""
    return -real.float().mean()


def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """E D(G(z)) − E D(x): Arjovsky, Chintala & Bottou, Wasserstein GAN, ICML 2017 (arXiv:1701.07875), eq. 2."""
    return critic_real_loss(real) + fake.float().mean()


def critic_generator_loss(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """−E D(G(z))."""
    return -fake.float().mean()


def relativistic_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(D(G(z)) − D(x)) over pairs: Jolicoeur-Martineau, The relativistic discriminator, ICLR 2019."""
    return softplus(fake.float() - real.float()).mean()


def relativistic_generator_loss(fake: Tensor, real: Tensor | None) -> Tensor:
    """E softplus(D(x) − D(G(z))): a fake should look more real than the real image of its pair."""
    assert real is not None
    return relativistic_discriminator_loss(fake, real)


GAN_LOSSES: dict[GANLossName, GANLoss] = {
    "non_saturating": GANLoss(discriminator_loss, non_saturating_generator_loss, real_loss, smoothing=smoothing),
    "minimax": GANLoss(discriminator_loss, minimax_generator_loss, real_loss, smoothing=smoothing),
    "least_squares": GANLoss(
        least_squares_discriminator_loss,
        least_squares_generator_loss,
        least_squares_real_loss,
        probability=False,
        indifferent=0.5,
        smoothing=least_squares_smoothing,
    ),
    "hinge": GANLoss(hinge_discriminator_loss, critic_generator_loss, hinge_real_loss, probability=False),
    "wasserstein": GANLoss(critic_loss, critic_generator_loss, critic_real_loss, probability=False),
    "relativistic": GANLoss(relativistic_discriminator_loss, relativistic_generator_loss, None, relative=True),
}
