"""Capabilities of a model that are stated in types of the losses: a discriminator, a normalizer."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from genlab.core.model import capability
from genlab.nn.losses.adversarial import Contest, Game
from genlab.nn.losses.partition import LogPartition
from genlab.nn.losses.regularizers import Stabilisers


@capability
@runtime_checkable
class Opposes(Protocol):
    """What is made plays against what tells it from the real, in a phase whose name begins with `discriminator`."""

    def contests(self, *drawn: Tensor) -> dict[str, Contest]:
        """Each discriminator's logits of what `draw` gave, larger for more real, by its name; "" of the only one."""


@capability
@runtime_checkable
class Plays(Protocol):
    """A generator that learns from a discriminator; `draw` gives real images, fakes, and what `judge` is given."""

    game: Game
    stabilisers: Stabilisers

    def judge(self, images: Tensor, *given: Tensor) -> Tensor:
        """The discriminator's logits for images as `draw` gives them, larger is more real."""


@capability
@runtime_checkable
class HasPartition(Protocol):
    """A model whose likelihood is known up to one constant, Z."""

    def unnormalised(self, image: Tensor) -> Tensor:
        """log p(image) + log Z, (N,) in nats."""

    def log_partition(self, mean_image: Tensor, chains: int, temperatures: int) -> LogPartition:
        """log Z, estimated from where a model would stand that knew the training data's mean image (C, H, W) alone."""

    def exact_log_partition(self) -> float | None:
        """log Z itself, or None where it is out of reach."""
