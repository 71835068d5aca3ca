"""InfoGAN: a GAN that must let its codes be seen.

Part of what the generator starts from, c, has to be told from the image by a network Q, which stands on the
discriminator's body. So the generator gives each code a meaning, found without any label: a digit's kind, its slant.

Chen, Duan, Houthooft, Schulman, Sutskever & Abbeel, InfoGAN: Interpretable Representation Learning by Information
Maximizing Generative Adversarial Nets, NeurIPS 2016 (arXiv:1606.03657): equations below are theirs.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Literal

import torch
from annotated_types import Gt, MinLen
from torch import Tensor, nn

from genlab.core.model import Phase, Shape
from genlab.errors import ConfigError
from genlab.models.gans.gan import GAN
from genlab.nn.layers.labels import one_hot
from genlab.nn.layers.stages import cut, shape_of
from genlab.nn.losses.adversarial import GANLossName
from genlab.nn.losses.infogan_codes import LatentCodes
from genlab.nn.losses.regularizers import RegularizerSpecs
from genlab.registry import (
    MODELS,
    NETWORKS,
    AugmentationSpec,
    NetworkSpec,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
)

Categories = Annotated[list[Annotated[int, Gt(1)]], MinLen(1)]


@MODELS("infogan")
class InfoGAN(GAN):
    """The generator starts from [z, c]: `latent_dim` numbers of noise, then the codes, one-hot and plain numbers."""

    packs = False

    def __init__(
        self,
        image_shape: Shape,
        generator: NetworkSpec,
        discriminator: NetworkSpec,
        head: NetworkSpec,
        categories: Categories,
        continuous: NonNegativeInt = 2,
        categorical_weight: NonNegativeFloat = 1.0,
        continuous_weight: NonNegativeFloat = 0.1,
        latent_dim: PositiveInt = 62,
        prior: Literal["uniform", "normal"] = "uniform",
        loss: GANLossName = "non_saturating",
        augment: AugmentationSpec | None = None,
        regularizers: RegularizerSpecs | None = None,
    ) -> None:
        codes = LatentCodes(categories, continuous)
        super().__init__(
            image_shape,
            generator,
            discriminator,
            latent_dim + codes.size,
            prior,
            loss,
            augment=augment,
            regularizers=regularizers,
        )
        if self.regularizers.unroll:
            raise ConfigError(
                "Q reads the discriminator as it is",
                "key model.regularizers.unroll",
                "use model.regularizers.unroll=null",
            )
        if self.regularizers.consensus:
            raise ConfigError(
                "consensus knows the game's own losses, and not the information that the generator also ascends",
                "key model.regularizers.consensus",
                "use model.regularizers.consensus=null",
            )
        self.latent_dim, self.codes, self.continuous = latent_dim, codes, continuous
        self.clusters = categories[0]  # the first category is what images are sorted by
        self.weights = {"categorical": categorical_weight, "continuous": continuous_weight}  # λ
        body, _ = cut(self.discriminator, "model.discriminator")
        features = math.prod(shape_of(body, image_shape))
        self.head = NETWORKS.build(head, "model.head", inp=features, out=codes.size)

    def shared_forward(self, image: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        """The step's real images and as many fakes, as the discriminator takes them, and the codes c of the fakes."""
        code = self.prior(len(image))
        return self.to_input(image), self.fakes(code), code[:, self.latent_dim :]

    def phases(self) -> list[Phase]:
        """Equation 6: Q moves with the generator, and reads what the discriminator looks for anyway."""
        learns = nn.ModuleList([self.generator, self.head, self.codes])
        return [
            replace(phase, module=learns) if phase.module is self.generator else phase for phase in super().phases()
        ]

    def generator_loss(self, real: Tensor, fake: Tensor, *given: Tensor) -> dict[str, Tensor]:
        """V(D, G) − λ L_I(G, Q), and L_I of each kind of code, in nats."""
        on_fake, q = self.read(self.augmented(fake))
        (code,) = given
        bounds = self.codes.bounds(code, q)
        game = self.gan_loss.generator(self.discriminator_logits(real) if self.gan_loss.relative else on_fake, on_fake)
        told = {f"{kind}_information": bound.detach() for kind, bound in bounds.items()}
        return {"loss": game - self.weighed(bounds), "game": game.detach(), **told}

    def weighed(self, bounds: dict[str, Tensor]) -> Tensor:
        """λ L_I, each kind of code with its own λ."""
        return torch.stack([self.weights[kind] * bound for kind, bound in bounds.items()]).sum()

    def read(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """The logit of being real (N, 1) and what Q says of the codes (N, size), of images that were `augmented`."""
        body, last = cut(self.discriminator, "model.discriminator")
        features = body(seen)
        return last(features), self.head(features.flatten(1))

    def discriminator_logits(self, images: Tensor, *given: Tensor) -> Tensor:
        return super().discriminator_logits(images)  # nobody tells the discriminator the code

    def fakes(self, code: Tensor, *given: Tensor) -> Tensor:
        return super().fakes(code)  # it is whole

    def prior(self, n: int) -> Tensor:
        """n draws of [z, c]."""
        z = super().prior(n)
        return torch.cat([z, self.codes.draw(n, like=z)], 1)

    def cluster(self, image: Tensor) -> Tensor:
        """The value of the first category that Q finds the most likely, (N,)."""
        return self.read(self.to_input(image))[1][:, : self.clusters].argmax(1)

    def traverse(self, code: Tensor, which: int, values: Tensor) -> Tensor:
        """[z, c] for each value of the first category in turn, with continuous code `which` at each of `values`.

        z is that of `code` (1, D); further categories keep its values, the other continuous codes are 0.
        """
        found = code.repeat(self.clusters * len(values), 1)
        kinds = torch.arange(self.clusters, device=code.device).repeat_interleave(len(values))
        found[:, self.latent_dim : self.latent_dim + self.clusters] = one_hot(kinds, self.clusters)
        numbers = torch.zeros(len(values), self.continuous, device=code.device)
        numbers[:, which] = values
        found[:, found.shape[1] - self.continuous :] = numbers.repeat(self.clusters, 1)
        return found
