"""FactorVAE: a VAE that penalizes the total correlation of its code, as a discriminator of codes estimates it.

The discriminator learns to tell codes from permuted ones, whose dimensions come from different images and are hence
independent. Its logit is then log q(z) / Π q(z_d), whose mean over codes is the total correlation.

Kim & Mnih, Disentangling by Factorising, ICML 2018 (arXiv:1802.05983): equations below.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.global_batch import gathered, own_rows
from genlab.core.model import Phase
from genlab.errors import ConfigError
from genlab.models.autoencoders.vae import VAE
from genlab.registry import MODELS, NETWORKS, NetworkSpec, NonNegativeFloat


@MODELS("factor_vae")
class FactorVAE(VAE):
    """`gamma` is the weight γ of the total correlation in eq. 2. Permuted codes are of the same images (the paper takes
    another batch)."""

    def __init__(self, discriminator: NetworkSpec, gamma: NonNegativeFloat = 10.0, **options: Any) -> None:
        super().__init__(**options)
        self.gamma = gamma
        self.discriminator = NETWORKS.build(discriminator, "model.discriminator", inp=self.latent_dim, out=1)

    @property
    def monitor(self) -> str | None:  # type: ignore[override]
        """The VAE's, of its phase."""
        name = super().monitor
        return name and f"vae/{name}"

    def check_batch(self, n: int) -> None:
        if n < 2:
            raise ConfigError("the code of a single image cannot be permuted", "a batch has 1 image",
                              "use a larger trainer.batch_size, or a smaller trainer.grad_accum_steps")  # fmt: skip
        super().check_batch(n)

    def phases(self) -> list[Phase]:
        """The VAE against the discriminator, then the discriminator: algorithm 2."""
        return [
            Phase("vae", self.loss, nn.ModuleList([self.encoder, self.decoder, self.output_distribution])),
            Phase("discriminator", self.discriminator_loss, self.discriminator),
        ]

    def further_terms(self, z: Tensor, mean: Tensor, log_variance: Tensor) -> dict[str, tuple[float, Tensor]]:
        """The total correlation in nats: the mean logit that codes are not permuted, eq. 3."""
        return {"total_correlation": (self.gamma, self.discriminator(z).float().mean())}

    def discriminator_loss(self, image: Tensor) -> dict[str, Tensor]:
        """Cross entropy in nats of telling codes from permuted ones; 0.693 if they cannot be told apart."""
        with torch.no_grad():
            mean, log_variance = self.posterior(self.observe(image))
            z = mean + torch.exp(0.5 * log_variance) * rng.normal(*mean.shape, like=mean)
            shuffled = permuted(z, self.training)
        real, fake = (self.discriminator(each).float() for each in (z, shuffled))
        loss = 0.5 * (F.softplus(-real) + F.softplus(fake)).mean()
        return {"loss": loss, "accuracy": 0.5 * ((real > 0).float() + (fake < 0).float()).mean()}


def permuted(z: Tensor, training: bool) -> Tensor:
    """Codes (N, D) whose dimensions are each permuted over the images, of all ranks in training: algorithm 1."""
    order = gathered(rng.uniform(*z.shape, like=z), training).argsort(0)
    return own_rows(gathered(z, training).gather(0, order), training)
