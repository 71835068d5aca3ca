"""BiGAN and ALI: a GAN that also learns to encode.

The discriminator sees pairs of an image and a code: a real image with its encoding E(x), or a code from the prior with
its image G(z). Encoder and generator fool it together, which they can only do if each inverts the other.

Donahue, Krähenbühl & Darrell, Adversarial Feature Learning, ICLR 2017 (arXiv:1605.09782): the equations below.
Dumoulin, Belghazi, Poole, Mastropietro, Lamb, Arjovsky & Courville, Adversarially Learned Inference, ICLR 2017
(arXiv:1606.00704): the same with an encoder that is a Gaussian over codes.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from genlab.core import rng
from genlab.core.model import Model, Phase, Shape
from genlab.nn.losses.adversarial import GAN_LOSSES, ExchangeableLossName, Logits
from genlab.nn.losses.gradient_penalties import squared_gradient
from genlab.registry import MODELS, NETWORKS, NetworkSpec, NonNegativeFloat, PositiveInt


@MODELS("bigan")
class BiGAN(Model):
    """All networks see images in [-1, 1], the range of tanh; with `output` linear, points as they are.

    With `stochastic` (ALI) the encoder returns the mean and log variance of q(z|x), and a code is a sample from it.
    """

    points: ClassVar = {"output": "linear"}
    monitor = "quick_fid"  # the losses tell how well pairs can be told apart, not how good images are

    def __init__(
        self,
        image_shape: Shape,
        encoder: NetworkSpec,
        generator: NetworkSpec,
        discriminator: NetworkSpec,
        joint: NetworkSpec,
        feature_dim: PositiveInt = 256,
        latent_dim: PositiveInt = 50,
        prior: Literal["uniform", "normal"] = "uniform",
        stochastic: bool = False,
        loss: ExchangeableLossName = "non_saturating",
        r1: NonNegativeFloat = 0.0,
        output: Literal["tanh", "linear"] = "tanh",
    ) -> None:
        super().__init__()
        self.latent_dim, self.prior_name, self.stochastic, self.output = latent_dim, prior, stochastic, output
        self.gan_loss, self.r1 = GAN_LOSSES[loss], r1
        numbers = 2 * latent_dim if stochastic else latent_dim
        self.encoder = NETWORKS.build(encoder, "model.encoder", inp=image_shape, out=numbers)
        self.generator = NETWORKS.build(generator, "model.generator", inp=latent_dim, out=image_shape)
        features = NETWORKS.build(discriminator, "model.discriminator", inp=image_shape, out=feature_dim)
        head = NETWORKS.build(joint, "model.joint", inp=feature_dim + latent_dim, out=1)
        self.discriminator = PairDiscriminator(features, head, image_shape)

    def shared_forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """The pairs (x, E(x)) and (G(z), z)."""
        x, z = self.to_input(image), self.prior(len(image))
        return x, self.code(x), self.generate(z), z

    def phases(self) -> list[Phase]:
        """Section 3.4: a step for D, then one for E and G together."""
        inverse = nn.ModuleList([self.generator, self.encoder])
        return [
            Phase("discriminator", self.discriminator_loss, self.discriminator),
            Phase("generator", self.inverse_loss, inverse),
        ]

    def discriminator_loss(self, x: Tensor, code: Tensor, fake: Tensor, z: Tensor) -> dict[str, Tensor]:
        """By default −E log D(x, E(x)) − E log(1 − D(G(z), z)), the negative of equation 3; with R1 at real pairs."""
        code, fake = code.detach(), fake.detach()
        on_real, on_fake = self.discriminator(x, code), self.discriminator(fake, z)
        loss, logs = self.gan_loss.discriminator(on_real, on_fake), self.logs(on_real, on_fake)
        if self.r1:
            penalty = 0.5 * squared_gradient(self.discriminator.of_pairs, self.discriminator.pairs(x, code)).mean()
            loss, logs = loss + self.r1 * penalty, {**logs, "r1": penalty.detach()}
        return {"loss": loss, **logs}

    def inverse_loss(self, x: Tensor, code: Tensor, fake: Tensor, z: Tensor) -> dict[str, Tensor]:
        """The discriminator's loss with the two kinds of pairs exchanged, section 3.4: both E and G have gradients."""
        return {"loss": self.gan_loss.discriminator(self.discriminator(fake, z), self.discriminator(x, code))}

    def logs(self, on_real: Tensor, on_fake: Tensor) -> dict[str, Tensor]:
        logits = {"real": on_real.detach().float(), "fake": on_fake.detach().float()}
        if self.gan_loss.probability:
            return {f"{kind}_probability": each.sigmoid().mean() for kind, each in logits.items()}
        return {f"{kind}_score": each.mean() for kind, each in logits.items()}

    def real_and_fake_logits(self, x: Tensor, code: Tensor, fake: Tensor, z: Tensor) -> dict[str, Logits]:
        return {"": Logits(self.gan_loss, self.discriminator(x, code), self.discriminator(fake, z))}

    def code(self, x: Tensor) -> Tensor:
        """E(x), (N, latent_dim), of images in the networks' range; if `stochastic` a sample of it."""
        mean, log_variance = self.posterior_of(x)
        if log_variance is None:
            return mean
        return mean + torch.exp(0.5 * log_variance) * rng.normal(*mean.shape, like=mean)

    def posterior_of(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The mean of q(z|x) and its log variance, None if E is deterministic; each (N, latent_dim), float32."""
        numbers: Tensor = self.encoder(x).float()
        if not self.stochastic:
            return numbers, None
        mean, log_variance = numbers.chunk(2, dim=1)
        return mean, log_variance

    def generate(self, z: Tensor) -> Tensor:
        """G(z), in [-1, 1]; with `output` linear, points."""
        image: Tensor = self.generator(z)
        return image.tanh() if self.output == "tanh" else image

    def to_input(self, image: Tensor) -> Tensor:
        """Images in [0, 1] to [-1, 1]; points stay as they are."""
        return 2 * image - 1 if self.output == "tanh" else image

    def prior(self, n: int) -> Tensor:
        """n codes (n, D): uniform in [-1, 1), or standard normal."""
        if self.prior_name == "normal":
            return self.normal(n, self.latent_dim)
        return 2 * rng.uniform(n, self.latent_dim, like=next(self.parameters())) - 1

    def sample(self, n: int) -> Tensor:
        return self.decode(self.prior(n))

    def encode(self, image: Tensor) -> Tensor:
        """E(x), or the mean of q(z|x)."""
        return self.posterior_of(self.to_input(image))[0]

    def decode(self, code: Tensor) -> Tensor:
        image = self.generate(code).float()
        return (image + 1) / 2 if self.output == "tanh" else image

    def reconstruct(self, image: Tensor) -> Tensor:
        """G(E(x)): no loss compares it with x, so it shows the same kind of image, not the same image."""
        return self.decode(self.encode(image))


class PairDiscriminator(nn.Module):
    """D(x, z): `features` of the image, joined with the code by `head`, a network of vectors."""

    def __init__(self, features: nn.Module, head: nn.Module, image_shape: Shape) -> None:
        super().__init__()
        self.features, self.head, self.image_shape = features, head, image_shape

    def forward(self, image: Tensor, code: Tensor) -> Tensor:
        """Logits (N, 1) of images (N, C, H, W) and codes (N, D)."""
        features = leaky_relu(self.features(image), 0.2)
        logits: Tensor = self.head(torch.cat([features, code.to(features.dtype)], 1))
        return logits

    @staticmethod
    def pairs(image: Tensor, code: Tensor) -> Tensor:
        """Both as one vector (N, CHW + D)."""
        return torch.cat([image.flatten(1), code], 1)

    def of_pairs(self, pairs: Tensor) -> Tensor:
        """Logits (N, 1) of such vectors."""
        size = math.prod(self.image_shape)
        return self(pairs[:, :size].unflatten(1, self.image_shape), pairs[:, size:])
