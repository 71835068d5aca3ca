"""Generative adversarial network.

A generator turns noise z into images; a discriminator tells them from real ones. Each learns against the
other, the discriminator to tell better, the generator to be told apart less, until the images follow the law
of the data.

Goodfellow et al., Generative Adversarial Nets, NeurIPS 2014 (arXiv:1406.2661). With convolutional networks
(DCGAN): Radford, Metz & Chintala, ICLR 2016 (arXiv:1511.06434).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from genlab import noise
from genlab.losses.adversarial import (
    discriminator_loss,
    minimax_generator_loss,
    non_saturating_generator_loss,
)
from genlab.model import Model, Phase, Shape
from genlab.registry import MODELS, NETWORKS, NetworkSpec, PositiveInt

GENERATOR_LOSSES = {"minimax": minimax_generator_loss, "non_saturating": non_saturating_generator_loss}


@MODELS("gan")
class GAN(Model):
    """The discriminator sees images in tanh's range, [-1, 1]; everything outside this model is in [0, 1]."""

    monitor = None  # neither player's loss says which of two runs has the better images

    def __init__(
        self,
        image_shape: Shape,
        generator: NetworkSpec,
        discriminator: NetworkSpec,
        latent_dim: PositiveInt = 100,
        prior: Literal["uniform", "normal"] = "normal",
        loss: Literal["non_saturating", "minimax"] = "non_saturating",
    ) -> None:
        super().__init__()
        self.latent_dim, self.law = latent_dim, prior
        self.generator_loss = GENERATOR_LOSSES[loss]
        self.generator = NETWORKS.build(generator, "model.generator", inp=latent_dim, out=image_shape)
        self.discriminator = NETWORKS.build(discriminator, "model.discriminator", inp=image_shape, out=1)

    def draw(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The step's real images and as many fakes, both in [-1, 1]: one generator pass for both players."""
        return 2 * image - 1, self.generator(self.prior(len(image))).tanh()

    def phases(self) -> list[Phase]:
        """Algorithm 1, with k = 1: the discriminator moves, then the generator against what it has become."""
        return [
            Phase("discriminator", self.discriminate, self.discriminator),
            Phase("generator", self.generate, self.generator),
        ]

    def discriminate(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The discriminator's loss, and the mean probability of being real that it gives each kind."""
        # two passes: each kind is normalised by its own batch's statistics, as the DCGAN authors do
        on_real, on_fake = self.discriminator(real), self.discriminator(fake.detach())
        return {
            "loss": discriminator_loss(on_real, on_fake),
            "real_probability": on_real.detach().float().sigmoid().mean(),
            "fake_probability": on_fake.detach().float().sigmoid().mean(),
        }

    def generate(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        return {"loss": self.generator_loss(self.discriminator(fake))}

    def prior(self, n: int) -> Tensor:
        """n codes: standard normal, or uniform in [-1, 1) as in the DCGAN paper."""
        if self.law == "normal":
            return self.normal(n, self.latent_dim)
        return 2 * noise.uniform(n, self.latent_dim, like=next(self.parameters())) - 1

    def sample(self, n: int) -> Tensor:
        return self.decode(self.prior(n))

    def decode(self, code: Tensor) -> Tensor:
        return (self.generator(code).float().tanh() + 1) / 2
