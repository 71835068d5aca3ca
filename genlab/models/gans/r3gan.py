"""R3GAN: a relativistic loss with a penalty on the discriminator's gradient at real and at generated images.

The discriminator compares a real image with a generated one, so that all generated images cannot gather in one mode;
the two penalties, R1 and R2, make training converge locally. No other trick is needed, and the networks are modern
residual ones.

Huang, Gokaslan, Kuleshov & Tompkin, The GAN is dead; long live the GAN! A Modern GAN Baseline, NeurIPS 2024
(arXiv:2501.05441).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from genlab.core.model import Shape
from genlab.models.gans.gan import GAN
from genlab.nn.losses.gradient_penalties import logits_and_gradient, squared_norms
from genlab.registry import MODELS, Fraction, NonNegativeFloat


@MODELS("r3gan")
class R3GAN(GAN):
    """γ falls from `gamma` along half a cosine to `final_gamma` times as much at the end of training."""

    incompatible: ClassVar = dict.fromkeys(("r1", "r2"), "its loss has both, with the weight model.gamma")

    def __init__(
        self, image_shape: Shape, gamma: NonNegativeFloat = 1.0, final_gamma: Fraction = 0.1, **gan: Any
    ) -> None:
        super().__init__(image_shape, **gan)
        self.gamma, self.final_gamma = gamma, final_gamma

    def discriminator_loss(self, real: Tensor, fake: Tensor, *conditions: Tensor) -> dict[str, Tensor]:
        """E f(D(G(z)) − D(x)) + γ/2 E ‖∇D(x)‖² + γ/2 E ‖∇D(G(z))‖² with f = softplus: section 3.2, in float32."""
        on_real, r1 = self.logits_and_penalty(real, *conditions)
        on_fake, r2 = self.logits_and_penalty(fake.detach(), *conditions)
        loss = self.gan_loss.discriminator(on_real, on_fake) + self.weight() * (r1 + r2)
        logs = self.discriminator_logs(on_real, on_fake, len(real))
        return {"loss": loss, **logs, "r1": r1.detach(), "r2": r2.detach()}

    def logits_and_penalty(self, images: Tensor, *conditions: Tensor) -> tuple[Tensor, Tensor]:
        """The discriminator's logits of images in [-1, 1], and ½E ‖∇D‖² there, from one forward pass."""
        logits, gradient = logits_and_gradient(lambda x: self.discriminator_logits(x, *conditions), images)
        return logits, 0.5 * squared_norms(logits, gradient).mean()

    def weight(self) -> Tensor:
        """γ at this step."""
        fallen = (1 - torch.cos(torch.pi * self.progress)) / 2
        return self.gamma * (1 + (self.final_gamma - 1) * fallen)
