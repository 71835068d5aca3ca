"""Adversarial autoencoder (AAE).

An autoencoder whose codes follow a chosen prior p(z): a discriminator learns to distinguish codes from samples of p(z),
and the encoder learns to fool it. The decoder then generates images from samples of p(z).

Makhzani, Shlens, Jaitly, Goodfellow & Frey, Adversarial Autoencoders, 2015 (arXiv:1511.05644), section 2: a
reconstruction phase and a regularization phase, which updates first the discriminator, then the encoder.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.model import Phase, Shape
from genlab.errors import ConfigError
from genlab.models.autoencoders.autoencoder import Autoencoder
from genlab.nn.losses.adversarial import GAN_LOSSES, Logits
from genlab.registry import MODELS, NETWORKS, NetworkSpec, PositiveFloat, PositiveInt

GAN_LOSS = GAN_LOSSES["non_saturating"]


@MODELS("aae")
class AdversarialAutoencoder(Autoencoder):
    """The encoder is deterministic. `prior` normal is N(0, I); mixture is a ring of `components` Gaussians."""

    monitor = "quick_fid"  # the reconstruction error alone prefers codes that ignore the prior
    points = None

    def __init__(
        self,
        image_shape: Shape,
        network: NetworkSpec,
        discriminator: NetworkSpec,
        latent_dim: PositiveInt = 8,
        prior: Literal["normal", "mixture"] = "normal",
        components: PositiveInt = 10,
        radius: PositiveFloat = 4.0,
        loss: Literal["bernoulli", "mse"] = "bernoulli",
    ) -> None:
        if prior == "mixture" and latent_dim < 2:
            raise ConfigError("a ring of Gaussians lies in a plane", "key model.latent_dim", "use model.latent_dim=2")
        super().__init__(image_shape, network, latent_dim=latent_dim, loss=loss)
        self.latent_dim, self.prior_name, self.components, self.radius = latent_dim, prior, components, radius
        self.discriminator = NETWORKS.build(discriminator, "model.discriminator", inp=latent_dim, out=1)

    def shared_forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The images, their codes, and as many samples of p(z)."""
        return image, self.encode(image), self.prior(len(image))

    def phases(self) -> list[Phase]:
        """Reconstruction, then regularization: the discriminator is updated, then the encoder against it."""
        return [
            Phase("reconstruction", self.autoencoder_loss, nn.ModuleList([self.encoder, self.decoder])),
            Phase("discriminator", self.discriminator_loss, self.discriminator),
            Phase("encoder", self.encoder_loss, self.encoder),
        ]

    def autoencoder_loss(self, image: Tensor, code: Tensor, target: Tensor) -> dict[str, Tensor]:
        return self.reconstruction_loss(self.decoder(code), image)

    def discriminator_loss(self, image: Tensor, code: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The discriminator's loss, and its mean probability that samples of p(z), and codes, come from p(z)."""
        _, on_prior, on_code = self.real_and_fake_logits(image, code.detach(), target)[""]
        return {
            "loss": GAN_LOSS.discriminator(on_prior, on_code),
            "prior_probability": on_prior.detach().float().sigmoid().mean(),
            "code_probability": on_code.detach().float().sigmoid().mean(),
        }

    def real_and_fake_logits(self, image: Tensor, code: Tensor, target: Tensor) -> dict[str, Logits]:
        return {"": Logits(GAN_LOSS, self.discriminator(target), self.discriminator(code))}

    def encoder_loss(self, image: Tensor, code: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The generator loss of the encoder, which encodes anew since it was updated after `shared_forward`."""
        on_code = self.discriminator(self.encode(image))
        return {"loss": GAN_LOSS.generator(on_code, None)}

    def prior(self, n: int) -> Tensor:
        """n samples of p(z), (n, latent_dim); a mixture has its ring in the first two dimensions."""
        z = self.normal(n, self.latent_dim)
        if self.prior_name == "normal":
            return z
        angle = 2 * math.pi * ((rng.uniform(n, like=z) * self.components).floor() / self.components)
        center = self.radius * torch.stack([angle.cos(), angle.sin()], dim=1)
        # neighbors on the ring are six standard deviations apart
        spread = self.radius * math.sin(math.pi / max(self.components, 2)) / 3
        return torch.cat([center + spread * z[:, :2], z[:, 2:]], dim=1)

    def sample(self, n: int) -> Tensor:
        return self.decode(self.prior(n))
