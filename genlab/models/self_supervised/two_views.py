"""What models that compare two random views of an image share: the views, the encoder and the projection."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlab.core.model import Model, Shape
from genlab.errors import ConfigError
from genlab.registry import AUGMENTATIONS, NETWORKS, AugmentationSpec, NetworkSpec, PositiveInt


class TwoViews(Model):
    """h = f(x) is the code (N, latent_dim), z = g(h) the embedding that the loss compares; g is left out afterwards."""

    def __init__(
        self,
        image_shape: Shape,
        network: NetworkSpec,
        projection: NetworkSpec,
        augment: AugmentationSpec,
        latent_dim: PositiveInt = 128,
        projection_dim: PositiveInt = 64,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.augment: nn.Module = AUGMENTATIONS.build(augment, "model.augment", image_shape=image_shape)
        self.encoder = NETWORKS.build(network, "model.network", inp=image_shape, out=latent_dim)
        self.projection = NETWORKS.build(projection, "model.projection", inp=latent_dim, out=projection_dim)

    def check_batch(self, n: int) -> None:
        if n < 2:
            raise ConfigError("views of a single image have nothing to be compared with", "a batch has 1 image",
                              "use a larger trainer.batch_size, or a smaller trainer.grad_accum_steps")  # fmt: skip
        super().check_batch(n)

    def embeddings(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """z of two views of each image, each (N, projection_dim)."""
        views = torch.cat([self.view(image), self.view(image)])
        a, b = self.projection(self.encoder(views)).float().chunk(2)
        return a, b

    def view(self, image: Tensor) -> Tensor:
        """A random view of each image, (N, C, H, W) in [0, 1]."""
        viewed: Tensor = (self.augment(2 * image - 1) + 1) / 2
        return viewed

    def encode(self, image: Tensor) -> Tensor:
        """The code h (N, latent_dim) of images as they are."""
        code: Tensor = self.encoder(image).float()
        return code
