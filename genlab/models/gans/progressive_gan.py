"""Progressive growing: a GAN that begins with small images and grows layers for larger ones while it trains.

New layers fade in: a weight α rises from 0 to 1, between the enlarged image of the level below and the new level's own.
Small images are learned quickly and stably, and most steps are cheap.

Karras, Aila, Laine & Lehtinen, Progressive Growing of GANs for Improved Quality, Stability, and Variation, ICLR 2018
(arXiv:1710.10196).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d

from genlab.core.model import Phase, Shape
from genlab.errors import ConfigError
from genlab.models.gans.gan import GAN
from genlab.nn.losses.adversarial import Logits
from genlab.nn.networks.gans.progressive import Fades, ProgressiveDiscriminator, ProgressiveGenerator, twice
from genlab.registry import MODELS, Fraction, NonNegativeFloat


@MODELS("progressive_gan")
class ProgressiveGAN(GAN):
    """The levels below the last share the first `growth` of training equally; the last one has the rest.

    A level fades in over the first `fade` of its time, the last one as fast as the others. Each level is a pair of
    phases in its own window of training. Images are always those of the level reached so far, in full size.
    """

    points: ClassVar = None
    incompatible: ClassVar = dict.fromkeys(
        ("unroll", "consensus"), "its networks depend on the level that they reached"
    )
    generator: ProgressiveGenerator
    discriminator: ProgressiveDiscriminator

    def __init__(
        self,
        image_shape: Shape,
        growth: Fraction = 0.5,
        fade: Fraction = 0.5,
        drift: NonNegativeFloat = 0.001,
        **gan: Any,
    ) -> None:
        super().__init__(image_shape, **gan)
        for name, kind in (("generator", ProgressiveGenerator), ("discriminator", ProgressiveDiscriminator)):
            if not isinstance(getattr(self, name), kind):
                raise ConfigError("this network cannot grow", f"key model.{name}.name", f"use progressive_{name}")
        self.register_buffer("progress", torch.ones(()))  # persistent: a checkpoint knows the level it reached
        self.drift = drift
        below = len(self.generator.sides) - 1
        self.edges = [*(growth * level / below for level in range(below + 1)), 1.0]  # where each level begins
        self.fade_time = fade * growth / below

    def shared_forward(self, image: Tensor, *conditions: Tensor) -> tuple[Tensor, ...]:
        """The real images in [-1, 1] and as many codes: each phase makes images of its own level from them."""
        return self.to_input(image), self.prior(len(image))

    def phases(self) -> list[Phase]:
        """For each level, the phases of a GAN, in the level's window of training."""
        whole = super().phases()
        return [
            replace(
                phase,
                name=f"{phase.name}_{self.generator.sides[level][0]}",
                objective=partial(self.at_level, phase.objective, level),
                window=window,
            )
            for level, window in enumerate(pairwise(self.edges))
            for phase in whole
        ]

    def at_level(
        self, objective: Callable[..., dict[str, Tensor]], level: int, real: Tensor, code: Tensor
    ) -> dict[str, Tensor]:
        """`objective` of real images and fakes of one level, and its α as their condition."""
        alpha = self.alpha(level)
        fake = self.generator(code, self.fades(level, alpha)).tanh()
        return objective(self.shrunk(real, level, alpha), fake, alpha)

    def alpha(self, level: int) -> Tensor:
        """α of a level, which rises from 0 to 1 in the first part of its window; before that it is 0."""
        return ((self.progress - self.edges[level]) / max(self.fade_time, 1e-9)).clamp(0, 1)

    @staticmethod
    def fades(level: int, alpha: Tensor) -> Fades:
        """The levels up to `level`, of which only the last is fading in."""
        return [*[None] * level, alpha] if level else [None]

    def all_fades(self) -> Fades:
        """All levels, whichever are reached: those that are not have α = 0."""
        return [None, *(self.alpha(level) for level in range(1, len(self.generator.sides)))]

    def shrunk(self, real: Tensor, level: int, alpha: Tensor) -> Tensor:
        """Real images in the size of a level, as coarse as its fakes: section 2 and appendix A."""
        image = adaptive_avg_pool2d(real, self.generator.sides[level])
        return torch.lerp(twice(avg_pool2d(image, 2)), image, alpha) if level else image

    def discriminator_loss(self, real: Tensor, fake: Tensor, *conditions: Tensor) -> dict[str, Tensor]:
        """The GAN loss + ε_drift E D(x)², which keeps a critic's scores near 0: appendix A.1."""
        on_real, on_fake = (self.discriminator_logits(images, *conditions) for images in (real, fake.detach()))
        loss = self.gan_loss.discriminator(on_real, on_fake) + self.drift * on_real.float().square().mean()
        [alpha] = conditions
        return {"loss": loss, "alpha": alpha, **self.discriminator_logs(on_real, on_fake, len(real))}

    def discriminator_logits(self, images: Tensor, *conditions: Tensor) -> Tensor:
        """Logits for images in [-1, 1]: of a level and its α as in training, or of full size."""
        images = self.augmented(images)
        if not conditions:
            return self.discriminator(images, self.all_fades())
        level = self.discriminator.sides.index((images.shape[2], images.shape[3]))
        return self.discriminator(images, self.fades(level, *conditions))

    def real_and_fake_logits(self, real: Tensor, fake: Tensor, *conditions: Tensor) -> dict[str, Logits]:
        """From the results of `shared_forward`, where codes stand in the place of fakes."""
        on_real, on_fake = (self.discriminator_logits(images) for images in (real, self.fakes(fake)))
        return {"": Logits(self.gan_loss, on_real, on_fake)}

    def fakes(self, code: Tensor, *conditions: Tensor) -> Tensor:
        """Codes (N, D) to images in [-1, 1] of full size, as detailed as the level that is reached."""
        return self.generator(code, self.all_fades()).tanh()

    def decode(self, code: Tensor) -> Tensor:
        return (self.fakes(code).float() + 1) / 2
