"""pix2pix: a conditional GAN that learns image-to-image translation from pairs.

The generator G turns an image a into its partner b. The discriminator D sees an input with either its real partner or
the output of G, and classifies each patch. An L1 term keeps the output near the real partner; D corrects its blur.

Isola, Zhu, Zhou & Efros, Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017
(arXiv:1611.07004). x, y and z of the paper are a, b and the generator's dropout.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.core.model import Model, Phase, Shape
from genlab.nn.losses.adversarial import GAN_LOSSES, GANLossName, Logits
from genlab.nn.losses.image_similarity import psnr
from genlab.registry import MODELS, NETWORKS, NetworkSpec, NonNegativeFloat


@MODELS("pix2pix")
class Pix2Pix(Model):
    """Networks see images in [-1, 1]. L1 is the mean over pixels in that range, twice the value in [0, 1]."""

    inputs = ("a", "b")
    partners = True
    monitor = "generator/l1"  # the only value of which less is better, although it does not see blur

    def __init__(
        self,
        image_shape: Shape,
        generator: NetworkSpec,
        discriminator: NetworkSpec,
        loss: GANLossName = "non_saturating",
        lambda_l1: NonNegativeFloat = 100.0,
    ) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.gan_loss, self.lambda_l1 = GAN_LOSSES[loss], lambda_l1
        self.generator = NETWORKS.build(generator, "model.generator", inp=image_shape, out=image_shape)
        pair = (2 * channels, height, width)  # an input and a partner
        self.discriminator = NETWORKS.build(discriminator, "model.discriminator", inp=pair, out=1)

    def shared_forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The step's pairs (x, y) and G(x, z), in [-1, 1]: one generator pass for both losses."""
        x, y = 2 * a - 1, 2 * b - 1
        return x, y, self.generator(x).tanh()

    def phases(self) -> list[Phase]:
        """Section 3.3: an update of D, then one of G against the updated D."""
        return [
            Phase("discriminator", self.discriminator_loss, self.discriminator),
            Phase("generator", self.generator_loss, self.generator, metrics=self.generator_metrics),
        ]

    def discriminator_loss(self, x: Tensor, y: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Equation 1 for D, divided by 2, "which slows down the rate at which D learns" (section 3.3)."""
        _, on_real, on_fake = self.real_and_fake_logits(x, y, fake.detach())[""]
        logits = {"real": on_real.detach().float(), "fake": on_fake.detach().float()}
        scores = {f"{kind}_score": each.mean() for kind, each in logits.items()}
        return {"loss": self.gan_loss.discriminator(on_real, on_fake) / 2, **scores}

    def generator_loss(self, x: Tensor, y: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Equation 4: L_cGAN + λ L_L1."""
        on_fake = self.discriminator_logits(x, fake)
        on_real = self.discriminator_logits(x, y) if self.gan_loss.relative else None
        adversarial = self.gan_loss.generator(on_fake, on_real)
        l1 = (y - fake.float()).abs().mean()  # equation 3
        logs = {"adversarial": adversarial.detach(), "l1": l1.detach()}
        return {"loss": adversarial + self.lambda_l1 * l1, **logs}

    def generator_metrics(self, x: Tensor, y: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """PSNR in dB, of images in [0, 1]."""
        return {"psnr": psnr((y + 1) / 2, (fake.float() + 1) / 2).mean()}

    def real_and_fake_logits(self, x: Tensor, y: Tensor, fake: Tensor) -> dict[str, Logits]:
        return {"": Logits(self.gan_loss, self.discriminator_logits(x, y), self.discriminator_logits(x, fake))}

    def discriminator_logits(self, x: Tensor, y: Tensor) -> Tensor:
        """D's logits (N, 1, h, w), one for each patch, of inputs x with real or generated partners y."""
        return self.discriminator(torch.cat([x, y.to(x.dtype)], dim=1))

    def translate(self, image: Tensor) -> Tensor:
        """Inputs a in [0, 1] to images b; dropout adds noise, as in training (section 3.2)."""
        return (self.generator(2 * image - 1).float().tanh() + 1) / 2
