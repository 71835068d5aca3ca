"""AC-GAN: a conditional GAN whose discriminator also classifies; both networks are trained to make the class clear.

Odena, Olah & Shlens, Conditional Image Synthesis with Auxiliary Classifier GANs, ICML 2017 (arXiv:1610.09585).
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genlab.core.model import Shape
from genlab.models.gans.cgan import ConditionalGAN
from genlab.registry import MODELS, NETWORKS, NonNegativeFloat


@MODELS("acgan")
class ACGAN(ConditionalGAN):
    """The generator is that of `cgan`. The discriminator does not see the label: it predicts it."""

    incompatible: ClassVar = ConditionalGAN.incompatible | dict.fromkeys(
        ("consensus", "unroll"), "it differentiates the adversarial loss alone, without the class loss of this model"
    )

    def __init__(
        self, image_shape: Shape, num_classes: int | None, classifier_weight: NonNegativeFloat = 1.0, **cgan: Any
    ) -> None:
        super().__init__(image_shape, num_classes, **cgan)
        self.classifier_weight = classifier_weight

    def build_discriminator(self, spec: dict[str, Any], image_shape: Shape) -> nn.Module:
        network: nn.Module = NETWORKS.build(spec, "model.discriminator", inp=image_shape, out=1 + self.num_classes)
        return network

    def discriminator_loss(self, real: Tensor, fake: Tensor, *conditions: Tensor) -> dict[str, Tensor]:
        """−L_S − w L_C, equations 2 and 3."""
        (on_real, class_of_real), (on_fake, class_of_fake) = self.logits(real), self.logits(fake.detach())
        loss = self.gan_loss.discriminator(on_real, on_fake)
        logs = self.discriminator_logs(on_real, on_fake, len(real))
        real_nll, fake_nll = label_nll(class_of_real, *conditions), label_nll(class_of_fake, *conditions)
        logs |= {"real_label_nll": real_nll.detach(), "fake_label_nll": fake_nll.detach()}
        return {"loss": loss + self.classifier_weight * (real_nll + fake_nll), **logs}

    def generator_loss(self, real: Tensor, fake: Tensor, *conditions: Tensor) -> dict[str, Tensor]:
        """L_S − w L_C; only fakes depend on the generator."""
        on_fake, class_of_fake = self.logits(fake)
        on_real = self.discriminator_logits(real) if self.gan_loss.relative else None
        loss = self.gan_loss.generator(on_fake, on_real)
        return {"loss": loss + self.classifier_weight * label_nll(class_of_fake, *conditions)}

    def logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The logits of being real (N, 1) and of the classes (N, num_classes) of images in [-1, 1]."""
        logits: Tensor = self.discriminator(self.augmented(images))
        return logits[:, :1], logits[:, 1:]

    def discriminator_logits(self, images: Tensor, *conditions: Tensor) -> Tensor:
        return self.logits(images)[0]


def label_nll(logits: Tensor, label: Tensor) -> Tensor:
    """−E log P(C = label | image), in nats."""
    return cross_entropy(logits.float(), label)
