"""K-means features of image patches.

Patches are normalised in contrast and whitened, k-means finds their centroids, and an image is described by how
close the patches of each of its quadrants lie to each centroid.

Coates, Lee & Ng, An Analysis of Single-Layer Networks in Unsupervised Feature Learning, AISTATS 2011: sections
below are theirs. Mini-batches: Sculley, Web-Scale K-Means Clustering, WWW 2010.
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
from genlab.registry import MODELS, Fraction, PositiveFloat, PositiveInt

Share = Annotated[float, Gt(0), Lt(1)]
AT_ONCE = 2**22  # distances computed together while encoding


@MODELS("kmeans")
class KMeans(Model):
    """Learns by updates alone: the first `whitening` of training sums up the patches' covariance, the rest moves
    the centroids.
    """

    centre: Tensor
    members: Tensor

    def __init__(
        self,
        image_shape: Shape,
        centroids: Annotated[int, Gt(1), Lt(2**20)] = 400,
        field: Annotated[int, Ge(2), Lt(256)] = 6,
        stride: PositiveInt = 1,
        patches: PositiveInt = 20,
        contrast: PositiveFloat = 1.5e-4,
        epsilon: PositiveFloat = 0.1,
        whitening: Share = 0.2,
        dead: Fraction = 0.01,
    ) -> None:
        super().__init__()
        _check_places(image_shape, field, stride)
        self.field = field
        self.patch_shape = image_shape[0], self.field, self.field
        self.stride, self.patches, self.contrast, self.epsilon = stride, patches, contrast, epsilon
        self.whitening, self.dead = whitening, dead
        size = image_shape[0] * self.field**2
        self.moments = Moments(size)
        self._zca: tuple[Tensor, Tensor] | None = None
        self.register_buffer("centre", torch.zeros(centroids, size))
        self.register_buffer("members", torch.zeros(centroids))

    # ------------------------------------------------------------------ learning

    def shared_forward(self, image: Tensor) -> tuple[Tensor]:
        """Random patches (N·patches, pixels), each of normal contrast: section 3.2.1."""
        return (normalize_contrast(random_patches(image, self.field, self.patches), self.contrast),)

    def phases(self) -> list[Phase]:
        return [
            Phase("whitening", self.measure, window=(0, self.whitening)),
            Phase("centroids", self.move, window=(self.whitening, 1)),
        ]

    def measure(self, patch: Tensor) -> dict[str, Tensor]:
        """Count the patches into the mean and covariance that whitening needs."""
        self.moments.update(patch)
        return {"patches": self.moments.count.float()}

    def move(self, patch: Tensor) -> dict[str, Tensor]:
        """A step of k-means: each centroid becomes the mean of all patches that were ever nearest to it.

        `loss` is the squared distance of a patch to its centroid before the step, averaged over patches.
        """
        x = self.whiten(patch)
        reseeded = self.reseed(x)
        nearest, distance = self.nearest(x)
        count = torch.zeros_like(self.members).index_add_(0, nearest, torch.ones_like(distance))
        total = torch.zeros_like(self.centre).index_add_(0, nearest, x)
        self.members += count
        self.centre += (total - count[:, None] * self.centre) / self.members.clamp(min=1)[:, None]
        used = (count > 0).float().mean()
        return {"loss": distance.mean(), "used": used, "reseeded": reseeded.float()}

    def reseed(self, x: Tensor) -> Tensor:
        """Put centroids with (nearly) no members, all of them at first, onto random patches; gives their number.

        They weigh as much as the smallest of the others, so that the next batch neither drops nor carries them away.
        """
        dead = self.members <= self.dead * self.members.mean()
        smallest = self.members.masked_fill(dead, torch.inf).amin()
        shuffled = rng.uniform(len(x), like=x).argsort()
        chosen = x[shuffled[torch.arange(len(dead), device=x.device) % len(x)]]
        self.centre.copy_(torch.where(dead[:, None], chosen, self.centre))
        self.members.copy_(torch.where(dead, smallest.nan_to_num(posinf=0.0), self.members))
        return dead.sum()

    def loss(self, patch: Tensor) -> dict[str, Tensor]:
        """The squared distance of a whitened patch to its centroid, averaged over patches."""
        return {"loss": self.nearest(self.whiten(patch))[1].mean()}

    # ------------------------------------------------------------------ features

    def whiten(self, patch: Tensor) -> Tensor:
        """ZCA, section 3.2.2: V(Λ + ε)^-½Vᵀ(x − μ)."""
        values, vectors = self.moments.eigen()
        if self._zca is None or self._zca[0] is not vectors:  # the moments keep theirs until the sums change
            self._zca = vectors, (vectors * (values + self.epsilon).rsqrt() @ vectors.T).float()
        return ((patch - self.moments.mean.float()) @ self._zca[1]).float()

    def nearest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The number of each row's nearest centroid, and the squared distance to it, each (N,)."""
        distance, index = torch.cdist(x, self.centre).min(1)
        return index, distance.square()

    def encode(self, image: Tensor) -> Tensor:
        """Triangle activations, summed over each quadrant: (N, 4K), section 3.3."""
        places = image.shape[2] * image.shape[3] / self.stride**2
        at_once = max(1, int(AT_ONCE / places / len(self.centre)))
        return torch.cat([self.features(part) for part in image.split(at_once)])

    def features(self, image: Tensor) -> Tensor:
        rows, places = all_patches(image, self.field, self.stride)
        z = torch.cdist(self.whiten(normalize_contrast(rows, self.contrast)), self.centre)  # (N, places, K)
        triangle = (z.mean(-1, keepdim=True) - z).clamp(min=0)  # f_k = max(0, μ(z) − z_k)
        return sum_quadrants(triangle.unflatten(1, places))

    def filters(self) -> Tensor:
        """The centroids, in the whitened space, as images (K, C, field, field)."""
        return self.centre.unflatten(1, self.patch_shape)


def _check_places(image_shape: Shape, field: int, stride: int) -> None:
    """ConfigError unless there are at least two places of a patch along each side: one for each quadrant."""
    side = min(image_shape[1:])
    if field + stride > side:
        raise ConfigError(
            f"a side of {side} pixels has no two places for patches of {field}x{field}, {stride} apart",
            "keys model.field, model.stride",
            f"use model.field={max(2, side // 2)} model.stride=1, or dataset.size={field + stride} or more",
        )
