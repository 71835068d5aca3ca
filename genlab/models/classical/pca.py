"""Principal component analysis.

The k directions in which images vary most: of all linear codes of k numbers, theirs loses least squared error.
Exact for the images counted: mean and covariance are sums over them. A run counts whole batches, and
rounds their number: unless the batch divides the number of images, a few of them are left out or counted twice.

Pearson, On Lines and Planes of Closest Fit to Systems of Points in Space, Philosophical Magazine 2 (1901).
Codes drawn from N(0, Λ): Tipping & Bishop, Probabilistic Principal Component Analysis, JRSS B 61 (1999), without
its noise.
"""

from __future__ import annotations

from math import prod
from typing import ClassVar

from torch import Tensor

from genlab.core.model import Model, Phase, Shape
from genlab.errors import ConfigError
from genlab.nn.layers.moments import Moments
from genlab.registry import MODELS, PositiveInt

LARGEST = 4096  # numbers in an image: the covariance has their square, and its eigenvectors take their cube of time


@MODELS("pca")
class PCA(Model):
    """`latent_dim` components. Learns by updates alone, in one pass; another over the same images changes nothing."""

    points: ClassVar = {}
    monitor = None  # the update has no loss

    def __init__(self, image_shape: Shape, latent_dim: PositiveInt = 30) -> None:
        super().__init__()
        size = prod(image_shape)
        if size > LARGEST:
            raise ConfigError(
                f"PCA of images of {size:,} numbers needs a covariance of {size:,} x {size:,}",
                "model pca",
                f"use dataset.size={int((LARGEST / image_shape[0]) ** 0.5) // 4 * 4}",
            )
        if latent_dim > size:
            raise ConfigError(
                f"images of {size} numbers have no {latent_dim} components",
                "key model.latent_dim",
                f"use model.latent_dim={size} or less",
            )
        self.image_shape, self.latent_dim = image_shape, latent_dim
        self.moments = Moments(size)

    def phases(self) -> list[Phase]:
        return [Phase("moments", self.update)]

    def update(self, image: Tensor) -> dict[str, Tensor]:
        """Count the images (N, C, H, W); logs their number so far and the total variance of a pixel vector."""
        self.moments.update(image.flatten(1))
        return {"images": self.moments.count.float(), "variance": self.moments.variance.float()}

    def loss(self, image: Tensor) -> dict[str, Tensor]:
        """What is left: ‖x − x̂‖², summed over pixels, with x̂ as it is, inside [0, 1] or not."""
        return {"squared_error": self.score(image).mean()}

    def basis(self) -> Tensor:
        """The components as rows W (k, pixels), orthonormal, by falling variance."""
        return self.moments.eigen()[1].T[: self.latent_dim].float()

    def mean(self) -> Tensor:
        """μ, (pixels,)."""
        return self.moments.mean.float()

    def encode(self, image: Tensor) -> Tensor:
        """z = W(x − μ): (N, k), uncorrelated."""
        return (image.flatten(1) - self.mean()) @ self.basis().T

    def decode(self, code: Tensor) -> Tensor:
        """x̂ = μ + Wᵀz, cut to [0, 1]."""
        return self.project(code).clamp(0, 1)

    def project(self, code: Tensor) -> Tensor:
        """μ + Wᵀz as images, which may leave [0, 1]."""
        return (self.mean() + code @ self.basis()).unflatten(1, self.image_shape)

    def reconstruct(self, image: Tensor) -> Tensor:
        return self.decode(self.encode(image))

    def score(self, image: Tensor) -> Tensor:
        """The squared distance of each image from the components' plane, (N,)."""
        return (self.project(self.encode(image)) - image).square().flatten(1).sum(1)

    def prior(self, n: int) -> Tensor:
        """Codes from N(0, Λ), Λ being the components' variances."""
        return self.normal(n, self.latent_dim) * self.moments.eigen()[0][: self.latent_dim].sqrt().float()

    def sample(self, n: int) -> Tensor:
        return self.decode(self.prior(n))

    def filters(self) -> Tensor:
        """The components as images (k, C, H, W)."""
        return self.basis().unflatten(1, self.image_shape)
