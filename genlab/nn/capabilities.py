"""Capabilities of a model whose types belong to the losses: a discriminator, a partition function."""

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
    """A discriminator is trained in a phase whose name begins with `discriminator`."""

    def real_and_fake_logits(self, *shared: Tensor) -> dict[str, Logits]:
        """Logits for the results of `shared_forward`, by discriminator ("" if only one); larger: more real."""


@capability
@runtime_checkable
class HasGANLoss(Protocol):
    """A generator and a discriminator; `shared_forward` returns real images, fakes and conditions."""

    gan_loss: GANLoss
    regularizers: Regularizers

    def discriminator_logits(self, images: Tensor, *conditions: Tensor) -> Tensor:
        """Logits for images in the range that `shared_forward` returns; larger: more real."""


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
