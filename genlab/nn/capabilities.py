"""Capabilities of a model that are stated in types of the losses: a discriminator, a normalizer."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from genlab.core.model import capability
from genlab.nn.losses.adversarial import GANLoss, Logits
from genlab.nn.losses.partition import LogPartition
from genlab.nn.losses.regularizers import Regularizers


@capability
@runtime_checkable
class HasDiscriminator(Protocol):
    """Something tells real images from generated ones, in a phase whose name begins with `discriminator`."""

    def real_and_fake_logits(self, *shared: Tensor) -> dict[str, Logits]:
        """Each discriminator's logits of what `shared_forward` gave, larger is more real, by name ("" if only one)."""


@capability
@runtime_checkable
class HasGANLoss(Protocol):
    """A generator that learns from a discriminator; `shared_forward` gives reals, fakes and conditions."""

    gan_loss: GANLoss
    regularizers: Regularizers

    def discriminator_logits(self, images: Tensor, *given: Tensor) -> Tensor:
        """The discriminator's logits for images as `shared_forward` gives them, larger is more real."""


@capability
@runtime_checkable
class HasPartition(Protocol):
    """A model whose likelihood is known up to one constant, Z."""

    def unnormalized(self, image: Tensor) -> Tensor:
        """log p(image) + log Z, (N,) in nats."""

    def log_partition(self, mean_image: Tensor, chains: int, temperatures: int) -> LogPartition:
        """log Z, estimated from a model that knows the mean image (C, H, W) of the training data alone."""

    def exact_log_partition(self) -> float | None:
        """log Z itself, or None where it cannot be computed."""
