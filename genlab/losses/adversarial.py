"""What the two players of a GAN minimise, from the discriminator's logits: scalars in nats, batch means.

D = sigmoid(logit) is the probability that an image is real, log D = −softplus(−logit) and
log(1 − D) = −softplus(logit).
Goodfellow et al., Generative Adversarial Nets, NeurIPS 2014 (arXiv:1406.2661).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """−E log D(x) − E log(1 − D(G(z))): the negative of equation 1's value."""
    return softplus(-real.float()).mean() + softplus(fake.float()).mean()


def minimax_generator_loss(fake: Tensor) -> Tensor:
    """E log(1 − D(G(z))), equation 1 as the generator sees it: flat where the discriminator is sure."""
    return -softplus(fake.float()).mean()


def non_saturating_generator_loss(fake: Tensor) -> Tensor:
    """−E log D(G(z)), section 3: the same fixed point, steep where the discriminator is sure."""
    return softplus(-fake.float()).mean()
