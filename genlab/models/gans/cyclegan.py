"""CycleGAN: image-to-image translation between two domains without pairs.

G: X → Y and F: Y → X are each trained against a discriminator of their target domain. This alone does not decide which
image becomes which; the cycle loss requires that an image translated there and back is what it was.

Zhu, Park, Isola & Efros, Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, ICCV 2017
(arXiv:1703.10593). Columns a and b are images x of X and y of Y.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlab.core.model import Model, Phase, Shape
from genlab.nn.layers.image_pool import ImagePool
from genlab.nn.losses.adversarial import GAN_LOSSES, Logits
from genlab.registry import MODELS, NETWORKS, NetworkSpec, NonNegativeFloat, NonNegativeInt

GAN_LOSS = GAN_LOSSES["least_squares"]


@MODELS("cyclegan")
class CycleGAN(Model):
    """Networks see images in [-1, 1], the range of tanh; L1 norms are means over pixels in that range."""

    inputs = ("a", "b")
    monitor = None  # generators that change nothing have the best cycle loss

    def __init__(
        self,
        image_shape: Shape,
        generator: NetworkSpec,
        discriminator: NetworkSpec,
        lambda_cycle: NonNegativeFloat = 10.0,
        lambda_identity: NonNegativeFloat = 5.0,
        image_pool_size: NonNegativeInt = 50,
    ) -> None:
        super().__init__()
        self.lambda_cycle, self.lambda_identity = lambda_cycle, lambda_identity
        self.generators = nn.ModuleDict(
            {way: NETWORKS.build(generator, "model.generator", inp=image_shape, out=image_shape) for way in "GF"}
        )
        self.discriminators = nn.ModuleDict(
            {domain: NETWORKS.build(discriminator, "model.discriminator", inp=image_shape, out=1) for domain in "XY"}
        )
        pools = {domain: ImagePool(image_pool_size, image_shape) for domain in "XY"}
        self.pools = nn.ModuleDict(pools) if image_pool_size else None

    def G(self, x: Tensor) -> Tensor:
        image: Tensor = self.generators["G"](x).tanh()
        return image

    def F(self, y: Tensor) -> Tensor:
        image: Tensor = self.generators["F"](y).tanh()
        return image

    def shared_forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        """x, y, F(y), G(x) in [-1, 1], and the random numbers that decide which fakes the pools exchange."""
        x, y = 2 * a - 1, 2 * b - 1
        return x, y, self.F(y), self.G(x), ImagePool.chances(len(x), x), ImagePool.chances(len(x), x)

    def phases(self) -> list[Phase]:
        """Both generators are updated, then both discriminators; then the fakes enter the pools."""
        updates = [
            Phase("generators", self.generator_loss, self.generators),
            Phase("discriminators", self.discriminator_loss, self.discriminators),
        ]
        return [*updates, Phase("pools", self.store)] if self.pools else updates

    def generator_loss(
        self, x: Tensor, y: Tensor, fake_x: Tensor, fake_y: Tensor, *chances: Tensor
    ) -> dict[str, Tensor]:
        """Equation 3 with least squares (section 4), and the identity loss of section 5.2."""
        on_x, on_y = self.discriminators["X"](fake_x), self.discriminators["Y"](fake_y)
        # E (D(G(x)) − 1)²: without the ½ of least squares GANs
        adversarial = 2 * (GAN_LOSS.generator(on_x, None) + GAN_LOSS.generator(on_y, None))
        cycle = distance(self.F(fake_y), x) + distance(self.G(fake_x), y)  # equation 2
        loss = adversarial + self.lambda_cycle * cycle
        logs = {"adversarial": adversarial.detach(), "cycle": cycle.detach()}
        if self.lambda_identity:
            identity = distance(self.F(x), x) + distance(self.G(y), y)
            loss = loss + self.lambda_identity * identity
            logs["identity"] = identity.detach()
        return {"loss": loss, **logs}

    def discriminator_loss(
        self, x: Tensor, y: Tensor, fake_x: Tensor, fake_y: Tensor, chances_x: Tensor, chances_y: Tensor
    ) -> dict[str, Tensor]:
        """½E (D(y) − 1)² + ½E D(G(x))², half of section 4 as in section 7.1, for each domain."""
        fake_x, fake_y = fake_x.detach(), fake_y.detach()
        if self.pools and self.training:
            fake_x, fake_y = self.pool("X").show(fake_x, chances_x), self.pool("Y").show(fake_y, chances_y)
        loss, logs = x.new_zeros(()), {}
        for column, (_, on_real, on_fake) in self.real_and_fake_logits(x, y, fake_x, fake_y).items():
            loss = loss + GAN_LOSS.discriminator(on_real, on_fake)
            logs[f"real_score_{column}"] = on_real.detach().float().mean()
            logs[f"fake_score_{column}"] = on_fake.detach().float().mean()
        return {"loss": loss, **logs}

    def real_and_fake_logits(
        self, x: Tensor, y: Tensor, fake_x: Tensor, fake_y: Tensor, *chances: Tensor
    ) -> dict[str, Logits]:
        """By data column: a for domain X, b for Y."""
        on_x, on_y = self.discriminators["X"], self.discriminators["Y"]
        return {"a": Logits(GAN_LOSS, on_x(x), on_x(fake_x)), "b": Logits(GAN_LOSS, on_y(y), on_y(fake_y))}

    def store(
        self, x: Tensor, y: Tensor, fake_x: Tensor, fake_y: Tensor, chances_x: Tensor, chances_y: Tensor
    ) -> dict[str, Tensor]:
        """Store fakes in the pools: all of them until a pool is full, then those that were exchanged for older ones."""
        self.pool("X").store(fake_x, chances_x)
        self.pool("Y").store(fake_y, chances_y)
        return {}

    def pool(self, domain: str) -> ImagePool:
        assert self.pools is not None
        pool = self.pools[domain]
        assert isinstance(pool, ImagePool)
        return pool

    def translate(self, image: Tensor) -> Tensor:
        """Images of domain a, in [0, 1], to domain b."""
        return (self.G(2 * image - 1).float() + 1) / 2

    def translate_back(self, image: Tensor) -> Tensor:
        """Images of domain b, in [0, 1], to domain a."""
        return (self.F(2 * image - 1).float() + 1) / 2


def distance(one: Tensor, other: Tensor) -> Tensor:
    """‖one − other‖₁, the mean over pixels."""
    return torch.mean(torch.abs(one.float() - other.float()))
