"""What the two players of a GAN minimise, from the discriminator's logits: scalars in nats, batch means.

D = sigmoid(logit) is the probability that an image is real, log D = −softplus(−logit) and
log(1 − D) = −softplus(logit). Least squares, hinge and Wasserstein losses take the logit itself as a score, without
units.
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


def _meant(name: object) -> object:
    if isinstance(name, str) and name in ALIASES:
        raise ValueError(f"did you mean '{ALIASES[name]}'?")
    return name


GANLossName = Annotated[
    Literal["non_saturating", "minimax", "least_squares", "hinge", "wasserstein", "relativistic"],
    BeforeValidator(_meant),
]


@dataclass(frozen=True)
class GANLoss:
    """The two losses, each of (real, fake) logits of any one shape; a generator need not look at the real ones."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    real: Callable[[Tensor], Tensor] | None  # the part of the discriminator's loss that is of real images; None: no sum
    relative: bool = False  # whether the generator's loss depends on the real images' logits
    probability: bool = True  # whether a logit is that of a probability
    indifferent: float = 0.0  # the logit of every image that costs least a discriminator which cannot tell
    # what a target of 1 − s for real images, in place of 1, adds to the discriminator's loss; None: it has no targets
    smoothing: Callable[[Tensor, float], Tensor] | None = None


class Logits(NamedTuple):
    """A discriminator's game, and its logits of what is real and of what is made."""

    gan_loss: GANLoss
    real: Tensor
    made: Tensor


def smoothed(real: Tensor, s: float) -> Tensor:
    """−(1 − s) E log D(x) − s E log(1 − D(x)), less what it is for s = 0: s times the mean logit.

    Salimans et al., Improved Techniques for Training GANs, NeurIPS 2016 (arXiv:1606.03498), section 3.4: of the real
    side only, so that the generator's samples are not where they are because it once put them there.
    """
    return s * real.float().mean()


def least_squares_smoothed(real: Tensor, s: float) -> Tensor:
    """½E (D(x) − 1 + s)², less what it is for s = 0."""
    return s * (real.float() - 1).mean() + 0.5 * s * s


def real_loss(real: Tensor) -> Tensor:
    """−E log D(x)."""
    return softplus(-real.float()).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """−E log D(x) − E log(1 − D(G(z))), the negative of equation 1's value.

    Goodfellow et al., Generative Adversarial Nets, NeurIPS 2014 (arXiv:1406.2661).
    """
    return real_loss(real) + softplus(fake.float()).mean()


def minimax_generator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """E log(1 − D(G(z))), equation 1 as the generator sees it: flat where the discriminator is sure."""
    return -softplus(fake.float()).mean()


def non_saturating_generator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """−E log D(G(z)), section 3: the same fixed point, steep where the discriminator is sure."""
    return softplus(-fake.float()).mean()


def least_squares_real_loss(real: Tensor) -> Tensor:
    """½E (D(x) − 1)²."""
    return 0.5 * (real.float() - 1).square().mean()


def least_squares_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """½E (D(x) − 1)² + ½E D(G(z))²: Mao et al., Least Squares GANs, ICCV 2017 (arXiv:1611.04076), eq. 9."""
    return least_squares_real_loss(real) + 0.5 * fake.float().square().mean()


def least_squares_generator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """½E (D(G(z)) − 1)², equation 9."""
    return 0.5 * (fake.float() - 1).square().mean()


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


def critic_generator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """−E D(G(z))."""
    return -fake.float().mean()


def relativistic_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(D(G(z)) − D(x)) over pairs: Jolicoeur-Martineau, The relativistic discriminator, ICLR 2019."""
    return softplus(fake.float() - real.float()).mean()


def relativistic_generator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(D(x) − D(G(z))): a fake is to look more real than its partner."""
    return softplus(real.float() - fake.float()).mean()


GAN_LOSSES: dict[GANLossName, GANLoss] = {
    "non_saturating": GANLoss(discriminator_loss, non_saturating_generator_loss, real_loss, smoothing=smoothed),
    "minimax": GANLoss(discriminator_loss, minimax_generator_loss, real_loss, smoothing=smoothed),
    "least_squares": GANLoss(
        least_squares_discriminator_loss,
        least_squares_generator_loss,
        least_squares_real_loss,
        probability=False,
        indifferent=0.5,
        smoothing=least_squares_smoothed,
    ),
    "hinge": GANLoss(hinge_discriminator_loss, critic_generator_loss, hinge_real_loss, probability=False),
    "wasserstein": GANLoss(critic_loss, critic_generator_loss, critic_real_loss, probability=False),
    "relativistic": GANLoss(relativistic_discriminator_loss, relativistic_generator_loss, None, relative=True),
}
