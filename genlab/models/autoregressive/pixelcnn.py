"""PixelCNN: p(x) = ∏ᵢ p(xᵢ | x₁, ..., xᵢ₋₁), pixel by pixel and row by row; the likelihood is exact.

A network sees, at each pixel, all pixels above and to the left, and outputs the parameters of that pixel's
distribution. All pixels are trained at once; a sample takes one pass for each pixel.

van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural Networks, ICML 2016 (arXiv:1601.06759), section 3.5.
Gated network: van den Oord et al., NeurIPS 2016. The mixture of logistics: Salimans et al., PixelCNN++, ICLR 2017.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genlab.core.model import LikelihoodKind, LikelihoodOf, Model, Shape
from genlab.errors import ConfigError
from genlab.nn.losses.pixel_distributions import DistributionName, pixel_distribution
from genlab.nn.networks.pixelcnn import GatedStacks
from genlab.registry import MODELS, NETWORKS, NetworkSpec, PositiveInt


@MODELS("pixelcnn")
class PixelCNN(Model):
    """With `likelihood` bernoulli, pixels are sampled at every step: white with the gray level as the probability.

    Otherwise they have 256 levels. `components` is the number of logistics in the mixture.
    """

    likelihood_kind: LikelihoodKind = "exact"

    def __init__(
        self,
        image_shape: Shape,
        network: NetworkSpec,
        likelihood: DistributionName = "logistic_mixture",
        components: PositiveInt = 5,
    ) -> None:
        super().__init__()
        channels, *sides = image_shape
        self.image_shape = image_shape
        self.likelihood_of: LikelihoodOf = "binary" if likelihood == "bernoulli" else "levels"
        self.distribution = pixel_distribution(likelihood, channels, components)
        out = (self.distribution.parameters, *sides)
        self.network = NETWORKS.build(network, "model.network", inp=image_shape, out=out)
        if not isinstance(self.network, GatedStacks) or self.network.embedding is not None:
            message = f"network '{network['name']}' does not take pixels in their order"
            raise ConfigError(message, "key model.network.name", "use model.network.name=gated_pixelcnn")

    def loss(self, image: Tensor) -> dict[str, Tensor]:
        """−log p(x) in nats, and in bits per pixel and channel."""
        loss = -self.log_likelihood(self.observe(image)).mean()
        return {"loss": loss, "bits_per_dim": loss.detach() / math.log(2) / math.prod(self.image_shape)}

    def observe(self, image: Tensor) -> Tensor:
        """The values whose probability is evaluated: 0 and 1 sampled from the gray levels, or the nearest of 256."""
        return self.distribution.observe(image)

    def log_likelihood(self, x: Tensor) -> Tensor:
        """log p(x) of each image (N,), in nats; `x` as from `observe`."""
        return -self.distribution.nll(self.network(2 * x - 1), x)

    def score(self, image: Tensor) -> Tensor:
        """−log p(x), (N,) in nats."""
        return -self.log_likelihood(self.observe(image))

    def sample(self, n: int) -> Tensor:
        """n images (n, C, H, W) in [0, 1], sampled pixel by pixel."""
        x = torch.zeros(n, *self.image_shape, device=next(self.parameters()).device)
        return (self.network.fill(x, lambda p: 2 * self.distribution.sample(p) - 1) + 1) / 2
