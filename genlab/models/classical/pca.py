"""Principal component analysis (PCA).

The k directions of largest variance: of all linear codes of k numbers, theirs has the least squared error. Mean and
covariance are sums over images, so the result is exact. A run sees whole batches: unless the batch size divides the
number of images, a few of them are left out or counted twice.

Pearson, On Lines and Planes of Closest Fit to Systems of Points in Space, Philosophical Magazine 2 (1901).
Sampling from N(0, Λ): Tipping & Bishop, Probabilistic Principal Component Analysis, JRSS B 61 (1999), without noise.
"""

from __future__ import annotations

from math import prod
from typing import ClassVar

from torch import Tensor

from genlab.core.model import Model, Phase, Shape
from genlab.errors import ConfigError
from genlab.nn.layers.moments import Moments
from genlab.registry import MODELS, PositiveInt

MAX_DIMENSIONS = 4096  # of an image: the covariance takes quadratic memory, its eigenvectors cubic time


@MODELS("pca")
class PCA(Model):
    """`latent_dim` components. Trained by updates without gradients, in one pass; a second pass changes nothing."""

    points: ClassVar = {}
    monitor = None  # the update has no loss

    def __init__(self, image_shape: Shape, latent_dim: PositiveInt = 30) -> None:
        super().__init__()
        size = prod(image_shape)
        if size > MAX_DIMENSIONS:
            raise ConfigError(
                f"PCA of images with {size:,} dimensions needs a covariance of {size:,} x {size:,}",
                "model pca",
                f"use dataset.size={int((MAX_DIMENSIONS / image_shape[0]) ** 0.5) // 4 * 4}",
            )
        if latent_dim > size:
            raise ConfigError(
                f"images with {size} dimensions do not have {latent_dim} components",
                "key model.latent_dim",
                f"use model.latent_dim={size} or less",
            )
        self.image_shape, self.latent_dim = image_shape, latent_dim
        self.moments = Moments(size)

    def phases(self) -> list[Phase]:
        return [Phase("moments", self.update)]

    def update(self, image: Tensor) -> dict[str, Tensor]:
        """Add the images (N, C, H, W) to the sums; logs their number so far and the total variance over pixels."""
        self.moments.update(image.flatten(1))
        return {"images": self.moments.count.float(), "variance": self.moments.variance.float()}

    def loss(self, image: Tensor) -> dict[str, Tensor]:
        """‖x − x̂‖², summed over pixels; x̂ is not clamped to [0, 1]."""
        return {"squared_error": self.score(image).mean()}

    def basis(self) -> Tensor:
        """The components as orthonormal rows W (k, pixels), by decreasing variance."""
        return self.moments.eigen()[1].T[: self.latent_dim].float()

    def mean(self) -> Tensor:
        """μ, (pixels,)."""
        return self.moments.mean.float()

    def encode(self, image: Tensor) -> Tensor:
        """z = W(x − μ): (N, k), uncorrelated."""
        return (image.flatten(1) - self.mean()) @ self.basis().T

    def decode(self, code: Tensor) -> Tensor:
        """x̂ = μ + Wᵀz; of images clamped to [0, 1], of points not."""
        decoded = self.project(code)
        return decoded if self.image_shape[1:] == (1, 1) else decoded.clamp(0, 1)

    def project(self, code: Tensor) -> Tensor:
        """μ + Wᵀz as images, which may leave [0, 1]."""
        return (self.mean() + code @ self.basis()).unflatten(1, self.image_shape)

    def reconstruct(self, image: Tensor) -> Tensor:
        return self.decode(self.encode(image))

    def score(self, image: Tensor) -> Tensor:
        """The squared distance of each image from the components' plane, (N,)."""
        return (self.project(self.encode(image)) - image).square().flatten(1).sum(1)

    def prior(self, n: int) -> Tensor:
        """n codes (n, k) from N(0, Λ), where Λ holds the variances of the components."""
        return self.normal(n, self.latent_dim) * self.moments.eigen()[0][: self.latent_dim].sqrt().float()

    def sample(self, n: int) -> Tensor:
        return self.decode(self.prior(n))

    def filters(self) -> Tensor:
        """The components as images (k, C, H, W)."""
        return self.basis().unflatten(1, self.image_shape)
