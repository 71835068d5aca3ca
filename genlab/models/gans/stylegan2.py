"""StyleGAN2 with adaptive discriminator augmentation.

A mapping turns noise z into a style w, which scales the feature maps of every layer of the generator: coarse layers
determine the pose, fine ones the texture. Two penalties regularize training: R1 on the discriminator's gradient at real
images, and one on how far a step in w changes the image. With little data, the discriminator sees augmented images.

Karras, Laine, Aittala, Hellsten, Lehtinen & Aila, Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020
(arXiv:1912.04958); Karras, Laine & Aila, StyleGAN, CVPR 2019 (arXiv:1812.04948); Karras, Aittala, Hellsten, Laine,
Lehtinen & Aila, Training GANs with Limited Data, NeurIPS 2020 (arXiv:2006.06676).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.global_batch import global_mean
from genlab.core.model import Model, Phase, Shape
from genlab.nn.losses.adversarial import GAN_LOSSES, Logits
from genlab.nn.losses.gradient_penalties import logits_and_gradient, squared_gradient
from genlab.nn.networks.gans.stylegan2 import Discriminator, Mapping, Synthesis
from genlab.registry import AUGMENTATIONS, MODELS, AugmentationSpec, Fraction, NonNegativeFloat, PositiveInt, Truncation

GAN_LOSS = GAN_LOSSES["non_saturating"]
R1_EVERY, PATH_EVERY = 16, 4  # lazy regularization, section 3.1: the weight is multiplied by the interval
W_RATE, PATH_RATE = 0.002, 0.01  # of the moving averages of w (code of Karras et al. 2021; 0.005 in 2020) and of a
PATH_SHRINK = 2  # path lengths are measured on half of a batch


class Generator(nn.Module):
    """The mapping f, the synthesis network g, and the mean style w̄."""

    mean_style: Tensor

    def __init__(self, mapping: Mapping, synthesis: Synthesis, style_dim: int) -> None:
        super().__init__()
        self.mapping, self.synthesis = mapping, synthesis
        self.register_buffer("mean_style", torch.zeros(style_dim))


@MODELS("stylegan2")
class StyleGAN2(Model):
    """Networks see images in about [-1, 1]. A code is z; a style is w for each layer."""

    monitor = "quick_fid"  # no loss tells which of two runs has the better images
    path_length: Tensor

    def __init__(
        self,
        image_shape: Shape,
        latent_dim: PositiveInt = 512,
        mapping_layers: PositiveInt = 8,
        channel_base: PositiveInt = 16384,
        channel_max: PositiveInt = 512,
        mixing: Fraction = 0.9,
        r1: NonNegativeFloat = 0.01,
        path_weight: NonNegativeFloat = 2.0,
        augment: AugmentationSpec | None = None,
    ) -> None:
        super().__init__()
        self.latent_dim, self.mixing, self.r1, self.path_weight = latent_dim, mixing, r1, path_weight
        self.generator = Generator(
            Mapping(latent_dim, mapping_layers),
            Synthesis(image_shape, latent_dim, channel_base, channel_max),
            latent_dim,
        )
        self.discriminator = Discriminator(image_shape, channel_base, channel_max)
        self.augment = AUGMENTATIONS.build(augment, "model.augment", image_shape=image_shape) if augment else None
        self.register_buffer("path_length", torch.zeros(()))  # a of equation 4

    def phases(self) -> list[Phase]:
        phases = [
            Phase("discriminator", self.discriminator_loss, self.discriminator),
            Phase("generator", self.generator_loss, self.generator),
        ]
        if self.r1:
            phases.append(Phase("r1", self.r1_loss, self.discriminator, every=R1_EVERY))
        if self.path_weight:
            phases.append(Phase("path", self.path_loss, self.generator, every=PATH_EVERY))
        return phases

    def shared_forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The step's real images and as many fakes."""
        return 2 * image - 1, self.generator.synthesis(self.mixed(len(image)))

    def discriminator_logits(self, image: Tensor) -> Tensor:
        """The discriminator's logits (N, 1) of images in about [-1, 1], after augmentation."""
        logits: Tensor = self.discriminator(image if self.augment is None else self.augment(image))
        return logits

    def real_and_fake_logits(self, real: Tensor, fake: Tensor) -> dict[str, Logits]:
        return {"": Logits(GAN_LOSS, self.discriminator_logits(real), self.discriminator_logits(fake))}

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        _, on_real, on_fake = self.real_and_fake_logits(real, fake.detach())[""]
        logs = {
            "r_t": on_real.detach().float().sign().mean(),  # near 1: the discriminator memorizes the real images
            "fake_sign": on_fake.detach().float().sign().mean(),
        }
        logs |= self.augment.observe(on_real, len(real)) if self.augment else {}
        return {"loss": GAN_LOSS.discriminator(on_real, on_fake), **logs}

    def generator_loss(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        on_fake = self.discriminator_logits(fake)
        return {"loss": GAN_LOSS.generator(on_fake, None)}

    def r1_loss(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """γ/2 E‖∇D(x)‖² at real images x: R1 of Mescheder et al. 2018."""
        penalty = squared_gradient(self.discriminator_logits, real).mean()
        return {"loss": self.r1 / 2 * R1_EVERY * penalty, "r1_penalty": penalty.detach()}

    def path_loss(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """E(‖J_wᵀ y‖ − a)², y standard normal, a the moving average of the lengths (equation 4)."""
        styles = self.mixed(max(1, len(real) // PATH_SHRINK))

        def product(w: Tensor) -> Tensor:
            image = self.generator.synthesis(w)
            y = self.normal(*image.shape) / math.sqrt(image.shape[2] * image.shape[3])
            return (image * y).flatten(1).sum(1)

        _, jacobian = logits_and_gradient(product, styles)  # J_wᵀ y = ∇_w (g(w)·y), (N, L, D)
        length = (jacobian.square().sum(2).mean(1) + 1e-12).sqrt()
        mean = global_mean(length.detach(), self.training)
        if self.training:
            self.path_length.lerp_(mean, PATH_RATE)
        loss = (length - self.path_length).square().mean()
        return {"loss": self.path_weight * PATH_EVERY * loss, "length": mean}

    def mixed(self, n: int) -> Tensor:
        """Styles (n, L, D); most of them switch from one w to another at some layer (StyleGAN, section 3.1)."""
        first, second = self.generator.mapping(self.prior(n)), self.generator.mapping(self.prior(n))
        if self.training:
            self.generator.mean_style.lerp_(global_mean(first.detach(), True), W_RATE)
        layers = self.generator.synthesis.styles
        mixes, position = rng.uniform(n, 2, like=first).unbind(1)
        switch = torch.where(mixes < self.mixing, 1 + (position * (layers - 1)).floor(), float(layers))
        layer = torch.arange(layers, device=first.device)
        return torch.where((layer < switch[:, None])[:, :, None], first[:, None], second[:, None])

    def prior(self, n: int) -> Tensor:
        """n codes z, standard normal."""
        return self.normal(n, self.latent_dim)

    def styles(self, code: Tensor, truncation: float = 1.0) -> Tensor:
        """Codes (N, D) to styles (N, L, D), coarse layers first: w̄ + ψ (f(z) − w̄), ψ the `truncation`."""
        mean = self.generator.mean_style
        w = mean + truncation * (self.generator.mapping(code) - mean)
        return w[:, None].expand(-1, self.generator.synthesis.styles, -1)

    def render(self, styles: Tensor, fixed: bool = True) -> Tensor:
        """Styles (N, L, D) to images in [0, 1]; unless `fixed`, every image has its own noise in each layer."""
        return ((self.generator.synthesis(styles, fixed).float() + 1) / 2).clamp(0, 1)

    def sample(self, n: int, truncation: Truncation = 1.0) -> Tensor:
        """n images; a `truncation` ψ below 1 gives better images of less variety."""
        return self.render(self.styles(self.prior(n), truncation), fixed=False)

    def decode(self, code: Tensor) -> Tensor:
        return self.render(self.styles(code))
