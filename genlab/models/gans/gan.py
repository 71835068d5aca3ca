"""Generative adversarial network.

A generator G turns noise z into images; a discriminator D estimates the probability that an image is real. The two are
trained against each other: D to tell real images from generated ones, G to make D mistake its images for real ones.

Goodfellow et al., Generative Adversarial Nets, NeurIPS 2014 (arXiv:1406.2661). With convolutional networks
(DCGAN): Radford, Metz & Chintala, ICLR 2016 (arXiv:1511.06434).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.model import Model, Phase, Shape
from genlab.nn.losses.adversarial import GAN_LOSSES, GANLossName, Logits
from genlab.nn.losses.regularizers import Regularizers, RegularizerSpecs
from genlab.registry import AUGMENTATIONS, MODELS, NETWORKS, AugmentationSpec, NetworkSpec, PositiveInt


@MODELS("gan")
class GAN(Model):
    """Both networks see images in [-1, 1], the range of tanh; at every public boundary images are in [0, 1].

    With `output` linear, data are points of any range, which both networks see unchanged.
    """

    # A subclass whose networks take more than images and codes (labels) returns it from `shared_forward` after the
    # fakes; every method passes it on as `conditions`.
    points: ClassVar[Mapping[str, Any] | None] = {"output": "linear"}
    monitor = "quick_fid"  # neither loss tells which of two runs has the better images
    incompatible: ClassVar[dict[str, str]] = {}  # regularizers that the losses of a subclass rule out, and why
    progress: Tensor

    def __init__(
        self,
        image_shape: Shape,
        generator: NetworkSpec,
        discriminator: NetworkSpec,
        latent_dim: PositiveInt = 100,
        prior: Literal["uniform", "normal"] = "normal",
        loss: GANLossName = "non_saturating",
        output: Literal["tanh", "linear"] = "tanh",
        critic_steps: PositiveInt = 1,
        augment: AugmentationSpec | None = None,
        regularizers: RegularizerSpecs | None = None,
    ) -> None:
        super().__init__()
        self.latent_dim, self.prior_name, self.output, self.critic_steps = latent_dim, prior, output, critic_steps
        self.regularizers = Regularizers(regularizers or {})
        self.gan_loss = GAN_LOSSES[loss]
        if self.regularizers.smoothing:
            self.gan_loss = self.regularizers.smoothing.smoothed(self.gan_loss)
        self.generator = NETWORKS.build(generator, "model.generator", inp=latent_dim, out=image_shape)
        self.discriminator = self.build_discriminator(discriminator, self.regularizers.packed(image_shape))
        self.augment = AUGMENTATIONS.build(augment, "model.augment", image_shape=image_shape) if augment else None
        self.register_buffer("progress", torch.ones(()), persistent=False)
        self.regularizers.check(self)

    def build_discriminator(self, spec: dict[str, Any], image_shape: Shape) -> nn.Module:
        network: nn.Module = NETWORKS.build(spec, "model.discriminator", inp=image_shape, out=1)
        return network

    def shared_forward(self, image: Tensor, *conditions: Tensor) -> tuple[Tensor, ...]:
        """The real images and as many fakes, in the discriminator's range: one generator pass for both losses."""
        return self.to_input(image), self.fakes(self.prior(len(image)), *conditions), *conditions

    def phases(self) -> list[Phase]:
        """Algorithm 1: the discriminator is updated `critic_steps` times (k) for each update of the generator."""
        return self.regularizers.phases(
            self,
            Phase("discriminator", self.discriminator_loss, self.discriminator),
            Phase("generator", self.generator_loss, self.generator, every=self.critic_steps),
        )

    def discriminator_loss(self, real: Tensor, fake: Tensor, *conditions: Tensor) -> dict[str, Tensor]:
        """By default −E log D(x) − E log(1 − D(G(z))): the negative of equation 1."""
        # two passes: each is normalized by the statistics of its own batch, as the DCGAN authors do
        _, on_real, on_fake = self.real_and_fake_logits(real, fake.detach(), *conditions)[""]
        loss = self.gan_loss.discriminator(on_real, on_fake)
        return {"loss": loss, **self.discriminator_logs(on_real, on_fake, len(real))}

    def generator_loss(self, real: Tensor, fake: Tensor, *conditions: Tensor) -> dict[str, Tensor]:
        """By default −E log D(G(z)), section 3."""
        on_fake = self.discriminator_logits(fake, *conditions)
        on_real = self.discriminator_logits(real, *conditions) if self.gan_loss.relative else None
        return {"loss": self.gan_loss.generator(on_fake, on_real)}

    def discriminator_logits(self, images: Tensor, *conditions: Tensor) -> Tensor:
        """The discriminator's logits (N, 1), of packs (⌈N / m⌉, 1), for images in [-1, 1]."""
        logits: Tensor = self.discriminator(self.augmented(images), *conditions)
        return logits

    def real_and_fake_logits(self, real: Tensor, fake: Tensor, *conditions: Tensor) -> dict[str, Logits]:
        on_real, on_fake = (self.discriminator_logits(images, *conditions) for images in (real, fake))
        return {"": Logits(self.gan_loss, on_real, on_fake)}

    def discriminator_logs(self, on_real: Tensor, on_fake: Tensor, n: int) -> dict[str, Tensor]:
        """The mean probability or score of n real images and of the fakes; adaptive augmentation observes them."""
        logs = {"real": on_real.detach().float(), "fake": on_fake.detach().float()}
        if self.gan_loss.probability:
            logs = {f"{kind}_probability": logits.sigmoid().mean() for kind, logits in logs.items()}
        else:
            logs = {f"{kind}_score": logits.mean() for kind, logits in logs.items()}
        return logs | (self.augment.observe(on_real, n) if self.augment else {})

    def augmented(self, images: Tensor) -> Tensor:
        """Images in [-1, 1] to the discriminator's input: with instance noise, augmented and packed, where asked."""
        images = self.regularizers.noise(images, self.progress) if self.regularizers.noise else images
        images = self.augment(images) if self.augment else images
        return self.regularizers.pack(images) if self.regularizers.pack else images

    def check_batch(self, n: int) -> None:
        super().check_batch(n)
        if self.regularizers.pack:
            self.regularizers.pack.check(n)

    def fakes(self, code: Tensor, *conditions: Tensor) -> Tensor:
        """Codes (N, D) to images in [-1, 1]; with `output` linear, to points."""
        images: Tensor = self.generator(code)
        return images.tanh() if self.output == "tanh" else images

    def to_input(self, image: Tensor) -> Tensor:
        """Images in [0, 1] to [-1, 1]; points stay as they are."""
        return 2 * image - 1 if self.output == "tanh" else image

    def prior(self, n: int) -> Tensor:
        """n codes (n, D): standard normal, or uniform in [-1, 1) as in the DCGAN paper."""
        if self.prior_name == "normal":
            return self.normal(n, self.latent_dim)
        return 2 * rng.uniform(n, self.latent_dim, like=next(self.parameters())) - 1

    def sample(self, n: int) -> Tensor:
        return self.decode(self.prior(n))

    def decode(self, code: Tensor) -> Tensor:
        """Codes (N, D) to images in [0, 1]; with `output` linear, to points."""
        images: Tensor = self.generator(code).float()
        return (images.tanh() + 1) / 2 if self.output == "tanh" else images
