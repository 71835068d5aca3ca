"""K-means features of image patches.

Patches are contrast-normalized and whitened, and k-means finds their centroids. The code of an image says how close the
patches of each quadrant are to each centroid.

Coates, Lee & Ng, An Analysis of Single-Layer Networks in Unsupervised Feature Learning, AISTATS 2011: source of the
sections below. Mini-batches: Sculley, Web-Scale K-Means Clustering, WWW 2010.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from genlab.core import rng
from genlab.core.model import Model, Phase, Shape
from genlab.errors import ConfigError
from genlab.nn.layers.moments import Moments
from genlab.nn.layers.patches import all_patches, normalize_contrast, random_patches, sum_quadrants
from genlab.registry import MODELS, Fraction, OpenFraction, PositiveFloat, PositiveInt

MAX_DISTANCES = 2**22  # distances in memory at a time while encoding


@MODELS("kmeans")
class KMeans(Model):
    """Trained by updates without gradients: the first fraction `whitening` of the run measures the covariance of the
    patches, the rest moves the centroids.
    """

    center: Tensor
    members: Tensor

    def __init__(
        self,
        image_shape: Shape,
        centroids: Annotated[int, Gt(1), Lt(2**20)] = 400,
        patch_size: Annotated[int, Ge(2), Lt(256)] = 6,
        stride: PositiveInt = 1,
        patches: PositiveInt = 20,
        contrast: PositiveFloat = 1.5e-4,
        epsilon: PositiveFloat = 0.1,
        whitening: OpenFraction = 0.2,
        dead: Fraction = 0.01,
    ) -> None:
        super().__init__()
        _check_places(image_shape, patch_size, stride)
        self.patch_size = patch_size
        self.patch_shape = image_shape[0], self.patch_size, self.patch_size
        self.stride, self.patches, self.contrast, self.epsilon = stride, patches, contrast, epsilon
        self.whitening, self.dead = whitening, dead
        size = image_shape[0] * self.patch_size**2
        self.moments = Moments(size)
        self._zca: tuple[Tensor, Tensor] | None = None
        self.register_buffer("center", torch.zeros(centroids, size))
        self.register_buffer("members", torch.zeros(centroids))

    def shared_forward(self, image: Tensor) -> tuple[Tensor]:
        """Random patches (N·patches, pixels), contrast-normalized: section 3.2.1."""
        return (normalize_contrast(random_patches(image, self.patch_size, self.patches), self.contrast),)

    def phases(self) -> list[Phase]:
        return [
            Phase("whitening", self.measure, window=(0, self.whitening)),
            Phase("centroids", self.move, window=(self.whitening, 1)),
        ]

    def measure(self, patch: Tensor) -> dict[str, Tensor]:
        """Add the patches to the mean and covariance for whitening."""
        self.moments.update(patch)
        return {"patches": self.moments.count.float()}

    def move(self, patch: Tensor) -> dict[str, Tensor]:
        """A step of mini-batch k-means: each centroid becomes the mean of all patches assigned to it so far.

        `loss` is the squared distance of a patch to its centroid before the step, averaged over patches; `used` the
        fraction of centroids with patches in this batch; `reseeded` the number of centroids that were replaced.
        """
        x = self.whiten(patch)
        reseeded = self.reseed(x)
        nearest, distance = self.nearest(x)
        count = torch.zeros_like(self.members).index_add_(0, nearest, torch.ones_like(distance))
        total = torch.zeros_like(self.center).index_add_(0, nearest, x)
        self.members += count
        self.center += (total - count[:, None] * self.center) / self.members.clamp(min=1)[:, None]
        used = (count > 0).float().mean()
        return {"loss": distance.mean(), "used": used, "reseeded": reseeded.float()}

    def reseed(self, x: Tensor) -> Tensor:
        """Replace centroids with (almost) no members, at first all of them, by random patches; return their number.

        They get as many members as the smallest other centroid, so that the next batch neither replaces them again nor
        moves them far.
        """
        dead = self.members <= self.dead * self.members.mean()
        smallest = self.members.masked_fill(dead, torch.inf).amin()
        shuffled = rng.uniform(len(x), like=x).topk(min(len(dead), len(x))).indices  # without sorting all of them
        chosen = x[shuffled[torch.arange(len(dead), device=x.device) % len(shuffled)]]
        self.center.copy_(torch.where(dead[:, None], chosen, self.center))
        self.members.copy_(torch.where(dead, smallest.nan_to_num(posinf=0.0), self.members))
        return dead.sum()

    def loss(self, patch: Tensor) -> dict[str, Tensor]:
        """The squared distance of a whitened patch to its centroid, averaged over patches."""
        return {"loss": self.nearest(self.whiten(patch))[1].mean()}

    def whiten(self, patch: Tensor) -> Tensor:
        """ZCA, section 3.2.2: V(Λ + ε)^-½Vᵀ(x − μ)."""
        values, vectors = self.moments.eigen()
        if self._zca is None or self._zca[0] is not vectors:  # Moments caches them until the sums change
            self._zca = vectors, (vectors * (values + self.epsilon).rsqrt() @ vectors.T).float()
        return ((patch - self.moments.mean.float()) @ self._zca[1]).float()

    def nearest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """For each row of x (N, D), the index of the nearest centroid and the squared distance to it, each (N,)."""
        # |x − c|² without |x|², which is the same for all centroids; under autocast bf16 would round it
        with torch.autocast(x.device.type, enabled=False):
            least, index = torch.addmm(self.center.square().sum(1), x, self.center.T, alpha=-2).min(1)
        return index, (least + x.square().sum(1)).clamp(min=0)

    def encode(self, image: Tensor) -> Tensor:
        """Triangle activations, summed over each quadrant: (N, 4K), section 3.3."""
        positions = image.shape[2] * image.shape[3] / self.stride**2
        batch_size = max(1, int(MAX_DISTANCES / positions / len(self.center)))
        return torch.cat([self.features(part) for part in image.split(batch_size)])

    def features(self, image: Tensor) -> Tensor:
        patches, positions = all_patches(image, self.patch_size, self.stride)
        z = torch.cdist(self.whiten(normalize_contrast(patches, self.contrast)), self.center)  # (N, positions, K)
        triangle = (z.mean(-1, keepdim=True) - z).clamp(min=0)  # f_k = max(0, μ(z) − z_k)
        return sum_quadrants(triangle.unflatten(1, positions))

    def filters(self) -> Tensor:
        """The centroids, in whitened space, as images (K, C, patch_size, patch_size)."""
        return self.center.unflatten(1, self.patch_shape)


def _check_places(image_shape: Shape, patch_size: int, stride: int) -> None:
    """ConfigError unless at least two patches fit along each side, one for each quadrant."""
    side = min(image_shape[1:])
    if patch_size + stride > side:
        raise ConfigError(
            f"a side of {side} pixels is too short for two patches of {patch_size}x{patch_size}, {stride} apart",
            "keys model.patch_size, model.stride",
            f"use model.patch_size={max(2, side // 2)} model.stride=1, or dataset.size={patch_size + stride} or more",
        )
