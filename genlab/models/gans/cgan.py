"""Conditional generative adversarial networks: the generator draws images of the class that it is asked for.

The class joins the generator's noise as one-hot numbers. The discriminator is told it too, by concatenation (Mirza &
Osindero, Conditional Generative Adversarial Nets, 2014, arXiv:1411.1784) or by projection (Miyato & Koyama, cGANs with
Projection Discriminator, ICLR 2018, arXiv:1802.05637), or both players are paid for a class that can be told from the
image (Odena, Olah & Shlens, Conditional Image Synthesis with Auxiliary Classifier GANs, ICML 2017, arXiv:1610.09585).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genlab.core import rng
from genlab.core.model import Shape
from genlab.errors import ConfigError
from genlab.models.gans.gan import GAN
from genlab.nn.layers.labels import in_turn, needed, one_hot
from genlab.nn.losses.adversarial import GANLossName
from genlab.nn.losses.regularizers import RegularizerSpecs
from genlab.nn.networks.conditional import Auxiliary, Concatenated, Projection
from genlab.registry import MODELS, NETWORKS, AugmentationSpec, ClassLabel, NetworkSpec, NonNegativeFloat, PositiveInt

DISCRIMINATORS = {"concat": Concatenated, "projection": Projection, "classifier": Auxiliary}


@MODELS("cgan")
class ConditionalGAN(GAN):
    """A code is [z, one-hot label]. The fakes of a step have the labels of its real images."""

    inputs = ("image", "label")
    packs = False

    def __init__(
        self,
        image_shape: Shape,
        num_classes: int | None,
        generator: NetworkSpec,
        discriminator: NetworkSpec,
        condition: Literal["concat", "projection", "classifier"] = "concat",
        classifier_weight: NonNegativeFloat = 1.0,
        latent_dim: PositiveInt = 100,
        prior: Literal["uniform", "normal"] = "normal",
        loss: GANLossName = "non_saturating",
        critic_steps: PositiveInt = 1,
        augment: AugmentationSpec | None = None,
        regularizers: RegularizerSpecs | None = None,
    ) -> None:
        # the base asks for both networks, which are built by these
        self.num_classes, self.condition, self.classifier_weight = (
            needed(num_classes, "cgan"),
            condition,
            classifier_weight,
        )
        super().__init__(
            image_shape, generator, discriminator, latent_dim, prior, loss, "tanh", critic_steps, augment, regularizers
        )
        if condition == "classifier":
            self.refuse_lookahead()

    def refuse_lookahead(self) -> None:
        """ConfigError for remedies that differentiate the game's losses alone, where D also descends the classes'."""
        for name in ("consensus", "unroll"):
            if getattr(self.regularizers, name):
                raise ConfigError(
                    f"{name} knows the game's own losses, and not the classes that the discriminator also learns",
                    f"key model.regularizers.{name}",
                    f"use model.regularizers.{name}=null, or model.condition=concat or projection",
                )

    def build_generator(self, spec: dict[str, Any], image_shape: Shape) -> nn.Module:
        network: nn.Module = NETWORKS.build(
            spec, "model.generator", inp=self.latent_dim + self.num_classes, out=image_shape
        )
        return network

    def build_discriminator(self, spec: dict[str, Any], image_shape: Shape) -> nn.Module:
        return DISCRIMINATORS[self.condition](spec, image_shape, self.num_classes)

    def discriminator_loss(self, real: Tensor, fake: Tensor, *given: Tensor) -> dict[str, Tensor]:
        if self.condition != "classifier":
            return super().discriminator_loss(real, fake, *given)
        (on_real, class_of_real), (on_fake, class_of_fake) = self.answers(real), self.answers(fake.detach())
        values = self.regularized(on_real, on_fake, real, fake, *given)  # −L_S, Odena et al., eq. 2
        likelihood = {"real": self.told(class_of_real, *given), "fake": self.told(class_of_fake, *given)}
        said = {f"{kind}_label_nll": each.detach() for kind, each in likelihood.items()}
        values["loss"] = values["loss"] + self.classifier_weight * (
            likelihood["real"] + likelihood["fake"]
        )  # −L_C, eq. 3
        return values | said

    def generator_gan_loss(self, real: Tensor, fake: Tensor, *given: Tensor) -> Tensor:
        if self.condition != "classifier":
            return super().generator_gan_loss(real, fake, *given)
        on_fake, class_of_fake = self.answers(fake)
        game = self.gan_loss.generator(
            self.discriminator_logits(real, *given) if self.gan_loss.relative else on_fake, on_fake
        )
        return game + self.classifier_weight * self.told(class_of_fake, *given)

    def answers(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The logits of being real (N, 1) and of the classes (N, num_classes) of images in [-1, 1]."""
        assert isinstance(self.discriminator, Auxiliary)
        return self.discriminator.answers(self.augmented(images))

    @staticmethod
    def told(logits: Tensor, label: Tensor) -> Tensor:
        """−E log P(C = label | image), in nats."""
        return cross_entropy(logits.float(), label)

    def fakes(self, code: Tensor, *given: Tensor) -> Tensor:
        """Images of the labels given, as the discriminator takes them; `code` is of any class."""
        (label,) = given
        return super().fakes(self.code(code[:, : self.latent_dim], label))

    def code(self, z: Tensor, label: Tensor) -> Tensor:
        return torch.cat([z, one_hot(label, self.num_classes)], 1)

    def prior(self, n: int) -> Tensor:
        """n codes of classes that are equally likely."""
        z = super().prior(n)
        return self.code(z, (rng.uniform(n, like=z) * self.num_classes).long())

    def sample(self, n: int, label: ClassLabel = None) -> Tensor:
        """n images of class `label` (0 to num_classes − 1), or of all classes in turn."""
        z = super().prior(n)
        return self.decode(self.code(z, in_turn(n, self.num_classes, label, like=z)))
