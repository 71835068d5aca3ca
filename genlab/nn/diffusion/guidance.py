"""Classifier-free guidance: one network learns with and without the class, and samples exaggerate the difference.

Ho & Salimans, Classifier-Free Diffusion Guidance, 2022 (arXiv:2207.12598); for velocities Zheng et al., Guided Flows,
2023 (arXiv:2311.13443).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genlab.core import rng
from genlab.core.model import Model, Shape
from genlab.errors import ConfigError
from genlab.nn.diffusion import posterior_sampling
from genlab.nn.diffusion.posterior_sampling import SIGMA_MAX, SIGMA_MIN, PosteriorMean
from genlab.nn.diffusion.schedules import noise_levels
from genlab.nn.diffusion.solvers import last
from genlab.nn.layers.conditions import Conditions
from genlab.nn.layers.labels import in_turn, needed
from genlab.registry import NETWORKS, ConditionedNetworkSpec, Fraction, NonNegativeFloat, NonNegativeInt, PositiveInt

Steps = Annotated[PositiveInt, Field(description="from noise to data; some solvers call the network twice in each")]
Guidance = Annotated[NonNegativeFloat, Field(description="weight of the class: 0 ignores it, above 1 exaggerates it")]
RestorationSteps = Annotated[PositiveInt, Field(description="noise levels of a restoration")]
Jump = Annotated[PositiveInt, Field(description="noise levels per jump of RePaint")]
Repeats = Annotated[PositiveInt, Field(description="passes over each jump; the cost grows in proportion")]
KnownClass = Annotated[NonNegativeInt | None, Field(description="the class of all images; null: not known")]


class GuidedModel(Model):
    """Base of diffusion and flow models: a network of noisy data, a time and perhaps a class, and its guidance.

    With `conditional` the network takes the class, which is hidden from it for a fraction `label_dropout` of the
    examples. Inside these models images are scaled to [-1, 1]; points stay as they are.
    """

    points: ClassVar = {}
    embedded: ClassVar = Conditions(time=True)  # what the network takes besides the class

    def __init__(
        self,
        image_shape: Shape,
        network: ConditionedNetworkSpec,
        num_classes: int | None = None,
        conditional: bool = False,
        label_dropout: Fraction = 0.1,
    ) -> None:
        super().__init__()
        self.image_shape, self.label_dropout = image_shape, label_dropout
        self.num_classes = needed(num_classes, f"{type(self).__name__} with conditional=true") if conditional else None
        self.inputs = ("image", "label") if conditional else ("image",)
        self.of_points = image_shape[1:] == (1, 1)
        # of images: the loss falls to a floor while samples still improve
        self.monitor = "loss" if self.of_points else "quick_fid"
        conditions = dataclasses.replace(self.embedded, num_classes=self.num_classes)
        self.network = NETWORKS.build(network, "model.network", inp=image_shape, out=image_shape, conditions=conditions)

    def path(self, n: int, *args: Any, **options: Any) -> Iterator[Tensor]:
        """The states of n samples from noise to data, images in [-1, 1]; a model names its options here."""
        raise NotImplementedError

    def sample(self, n: int, **options: Any) -> Tensor:
        """n samples, the ends of their `path`: images in [0, 1], or points; of one class, or of all in turn."""
        return self.to_image(last(self.path(n, **options)))

    def posterior_mean(self, x: Tensor, sigma: float, labels: Tensor | None, guidance: float = 1.0) -> Tensor:
        """E[data | x] of x = data + σ · noise, (N, ...) in the range of `from_image`."""
        raise NotImplementedError

    def denoise(
        self,
        image: Tensor,
        sigma: float,
        steps: RestorationSteps = 20,
        guidance: Guidance = 1.0,
        label: KnownClass = None,
    ) -> tuple[Tensor, Tensor]:
        """The mean of clean images, and one of them at random, given noisy ones of the deviation `sigma`."""
        mean, scale = self.class_posterior_mean(label, guidance, image), 1 if self.of_points else 2
        if not sigma:
            return image, image
        # evenly spaced: with few steps the variance of samples comes closest to that of the posterior
        levels = noise_levels(scale * sigma, min(scale * sigma, SIGMA_MIN), steps, rho=1)
        x = self.from_image(image)
        if not self.of_points:
            x = posterior_sampling.unclipped(x, levels[0])
        found = posterior_sampling.denoise(mean, x, levels)
        return self.to_image(found[0]), self.to_image(found[1])

    def inpaint(
        self,
        image: Tensor,
        mask: Tensor,
        steps: RestorationSteps = 20,
        jump: Jump = 1,
        repeats: Repeats = 5,
        guidance: Guidance = 1.0,
        label: KnownClass = None,
    ) -> Tensor:
        """`image` with the pixels where `mask` is true filled in, at random given the others."""
        mean = self.class_posterior_mean(label, guidance, image)
        levels = noise_levels(SIGMA_MAX, SIGMA_MIN, steps)
        found = posterior_sampling.inpaint(mean, self.from_image(image), mask, levels, jump, repeats)
        return torch.where(mask, self.to_image(found), image)

    def class_posterior_mean(self, label: int | None, guidance: float, like: Tensor) -> PosteriorMean:
        """`posterior_mean` of data of one class, or without a class. ConfigError where that was not trained."""
        labels = None
        if label is not None:
            labels = self.labels(len(like), label, guidance, like)
        elif guidance != 1:
            raise ConfigError("guidance needs a class", "key guidance", "add a label, or leave it out")
        else:
            self.check_without_class("restoration without a label")
        return lambda x, sigma: self.posterior_mean(x, sigma, labels, guidance)

    def from_image(self, image: Tensor) -> Tensor:
        """Images from [0, 1] to [-1, 1]."""
        return image if self.of_points else 2 * image - 1

    def to_image(self, x: Tensor) -> Tensor:
        """Images from [-1, 1], beyond which they are clipped, to [0, 1]."""
        return x if self.of_points else ((x + 1) / 2).clamp(0, 1)

    def with_dropout(self, label: Tensor | None) -> Tensor | None:
        """Labels (N,), of which a fraction `label_dropout` becomes `num_classes`: no class."""
        if label is None or not self.num_classes:
            return None
        return label.masked_fill(rng.uniform(len(label), like=label) < self.label_dropout, self.num_classes)

    def check_without_class(self, what: str) -> None:
        """ConfigError if `what` needs F(x, t, ∅) and training always shows the class."""
        if self.num_classes and not self.label_dropout:
            raise ConfigError(f"{what} needs the network's output without a class, which was not trained",
                              "key model.label_dropout", "train with model.label_dropout=0.1")  # fmt: skip

    def labels(self, n: int, label: int | Sequence[int] | None, guidance: float, like: Tensor) -> Tensor | None:
        """The n classes to sample: `label`, or all in turn. ConfigError where classes or guidance were not trained."""
        if self.num_classes:
            if guidance != 1:
                self.check_without_class("guidance other than 1")
            return in_turn(n, self.num_classes, label, like=like)
        if label is not None or guidance != 1:
            hint = "train with model.conditional=true"
            raise ConfigError("the model was trained without classes", "keys label and guidance", hint)
        return None

    def guided(self, x: Tensor, time: Tensor | float, labels: Tensor | None, guidance: float = 1.0) -> Tensor:
        """F(x, t, ∅) + guidance · (F(x, t, label) − F(x, t, ∅)) of the network F, float32; one `time` or (N,)."""
        times = time if isinstance(time, Tensor) else x.new_full((len(x),), time)
        conditional: Tensor = self.network(x, times, labels).float()
        if guidance == 1:
            return conditional
        plain = self.network(x, times).float()
        return plain + guidance * (conditional - plain)


def per_example(value: Tensor, like: Tensor) -> Tensor:
    """Values (N,) with as many axes as `like` (N, ...), to be multiplied with it."""
    return value.reshape(-1, *[1] * (like.ndim - 1))
