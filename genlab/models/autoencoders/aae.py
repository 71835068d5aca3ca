"""Adversarial autoencoder.

An autoencoder whose codes are made to follow a chosen law p(z): a discriminator learns to tell codes from draws of
p(z), and the encoder learns to be told apart less. Then the decoder makes images of draws from p(z).

Makhzani, Shlens, Jaitly, Goodfellow & Frey, Adversarial Autoencoders, 2015 (arXiv:1511.05644): section 2's two
phases, reconstruction and regularisation, the latter a step of each player of a GAN.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.model import Model, Phase, Shape
from genlab.errors import ConfigError
from genlab.nn.losses.adversarial import GAN_LOSSES, Logits
from genlab.nn.losses.likelihood import bernoulli_nll
from genlab.registry import MODELS, NETWORKS, NetworkSpec, PositiveFloat, PositiveInt

GAN_LOSS = GAN_LOSSES["non_saturating"]


@MODELS("aae")
class AdversarialAutoencoder(Model):
    """q(z) = E q(z|x) with a deterministic encoder; `prior` is the law that it is made to follow."""

    monitor = None  # images are rebuilt best by codes that follow no law

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
        super().__init__()
        if prior == "mixture" and latent_dim < 2:
            raise ConfigError("a ring of Gaussians lies in a plane", "key model.latent_dim", "use model.latent_dim=2")
        self.latent_dim, self.prior_name, self.criterion = latent_dim, prior, loss
        self.components, self.radius = components, radius
        self.encoder = NETWORKS.build(network, "model.network", inp=image_shape, out=latent_dim)
        self.decoder = NETWORKS.build(network, "model.network", inp=latent_dim, out=image_shape)
        self.discriminator = NETWORKS.build(discriminator, "model.discriminator", inp=latent_dim, out=1)

    def shared_forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The step's images, their codes, and as many draws of p(z)."""
        return image, self.encode(image), self.prior(len(image))

    def phases(self) -> list[Phase]:
        """Reconstruction, then regularisation: the discriminator moves, and the encoder against what it has become."""
        return [
            Phase("reconstruction", self.rebuild, nn.ModuleList([self.encoder, self.decoder])),
            Phase("discriminator", self.discriminator_loss, self.discriminator),
            Phase("encoder", self.mislead, self.encoder),
        ]

    def rebuild(self, image: Tensor, code: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        logits = self.decoder(code).float()
        shown = logits if self.criterion == "mse" else logits.detach()
        squared_error = (shown.sigmoid() - image).square().flatten(1).sum(1).mean()
        loss = squared_error if self.criterion == "mse" else bernoulli_nll(logits, image).mean()
        return {"loss": loss, "squared_error": squared_error.detach()}

    def discriminator_loss(self, image: Tensor, code: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        """The discriminator's loss, and the mean probability of coming from p(z) that it gives each kind."""
        _, on_prior, on_code = self.real_and_fake_logits(image, code.detach(), wanted)[""]
        return {
            "loss": GAN_LOSS.discriminator(on_prior, on_code),
            "prior_probability": on_prior.detach().float().sigmoid().mean(),
            "code_probability": on_code.detach().float().sigmoid().mean(),
        }

    def real_and_fake_logits(self, image: Tensor, code: Tensor, wanted: Tensor) -> dict[str, Logits]:
        return {"": Logits(GAN_LOSS, self.discriminator(wanted), self.discriminator(code))}

    def mislead(self, image: Tensor, code: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        """The encoder as generator of codes. It has moved since `shared_forward`, and encodes anew."""
        on_code = self.discriminator(self.encode(image))
        return {"loss": GAN_LOSS.generator(on_code, on_code)}

    def prior(self, n: int) -> Tensor:
        """n draws of p(z): standard normal, or `components` narrow Gaussians on a ring in the first two dimensions."""
        z = self.normal(n, self.latent_dim)
        if self.prior_name == "normal":
            return z
        turns = (rng.uniform(n, like=z) * self.components).floor() / self.components
        angle = 2 * math.pi * turns
        center = self.radius * torch.stack([angle.cos(), angle.sin()], dim=1)
        # neighbours on the ring stay three standard deviations to each side apart
        spread = self.radius * math.sin(math.pi / max(self.components, 2)) / 3
        return torch.cat([center + spread * z[:, :2], z[:, 2:]], dim=1)

    def encode(self, image: Tensor) -> Tensor:
        code: Tensor = self.encoder(image).float()
        return code

    def decode(self, code: Tensor) -> Tensor:
        image: Tensor = self.decoder(code).float().sigmoid()
        return image

    def reconstruct(self, image: Tensor) -> Tensor:
        return self.decode(self.encode(image))

    def sample(self, n: int) -> Tensor:
        return self.decode(self.prior(n))
