"""A history of generated images, so that a discriminator does not forget the weaknesses of earlier fakes.

Shrivastava et al., Learning from Simulated and Unsupervised Images through Adversarial Training, CVPR 2017
(arXiv:1612.07828), section 2.3; as CycleGAN uses it, 50 images, half of the batch replaced.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.nn.layers.shapes import Image


class ImagePool(nn.Module):
    """`size` earlier fakes, in buffers, so that a checkpoint contains them; the first fakes of a run fill the pool.

    Two uniform numbers per image, `chances`, decide what happens to it. So `show` works on the local batch alone, and
    `store`, which needs the batch of all processes, has the same result on each of them.
    """

    def __init__(self, size: int, image_shape: Image) -> None:
        super().__init__()
        self.size = size
        self.images: Tensor
        self.held: Tensor
        self.register_buffer("images", torch.zeros(size, *image_shape))
        self.register_buffer("held", torch.zeros((), dtype=torch.int64))

    @staticmethod
    def chances(n: int, like: Tensor) -> Tensor:
        """(n, 2): whether an image is exchanged, and for which one of the pool."""
        return rng.uniform(n, 2, like=like)

    def show(self, fake: Tensor, chances: Tensor) -> Tensor:
        """`fake` (N, C, H, W), half of it exchanged for images of the pool once that is full."""
        exchanged, place = self._choice(chances)
        return torch.where(exchanged[:, None, None, None], self.images[place].to(fake.dtype), fake)

    def store(self, fake: Tensor, chances: Tensor) -> None:
        """Fill free places in order; once the pool is full, replace the images that `show` exchanged.

        If several images get the same place, the last one is kept, as if they had come one after another.
        """
        exchanged, place = self._choice(chances)
        count = torch.arange(len(fake), device=fake.device)
        free = self.held + count  # the next free places, if any
        place = torch.where(exchanged, place, free)
        placed = exchanged | (free < self.size)
        wanted = placed & (place == torch.arange(self.size, device=fake.device)[:, None])  # (size, N)
        last = torch.where(wanted, count, -1).amax(1)
        keep = (last < 0)[:, None, None, None]
        self.images.copy_(torch.where(keep, self.images, fake.detach()[last.clamp(min=0)].to(self.images.dtype)))
        self.held.add_(len(fake)).clamp_(max=self.size)

    def _choice(self, chances: Tensor) -> tuple[Tensor, Tensor]:
        full = self.held >= self.size
        return full & (chances[:, 0] < 0.5), (chances[:, 1] * self.size).long().clamp(max=self.size - 1)
