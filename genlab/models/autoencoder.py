"""Autoencoder.

One network squeezes an image into a short code, another rebuilds the image from it; both learn by making the
rebuilt image like the original. What does not fit through the code is what the code has learned to leave out.

Hinton & Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, Science 313 (2006).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from genlab.losses.likelihood import bernoulli_nll
from genlab.model import Model, Shape
from genlab.registry import MODELS, NETWORKS, NetworkSpec, PositiveInt


@MODELS("autoencoder")
class Autoencoder(Model):
    """`decoder` is another spec than `network` for the way back; None mirrors `network`.

    `output` makes pixels of the decoder's logits; the Bernoulli loss means a sigmoid whatever it says.
    """

    def __init__(
        self,
        image_shape: Shape,
        network: NetworkSpec,
        decoder: NetworkSpec | None = None,
        latent_dim: PositiveInt = 32,
        loss: Literal["mse", "bernoulli"] = "mse",
        output: Literal["sigmoid", "identity"] = "sigmoid",
    ) -> None:
        super().__init__()
        self.criterion = loss
        self.output = "sigmoid" if loss == "bernoulli" else output
        self.encoder = NETWORKS.build(network, "model.network", inp=image_shape, out=latent_dim)
        self.decoder = NETWORKS.build(decoder or network, "model.decoder", inp=latent_dim, out=image_shape)

    def loss(self, image: Tensor) -> dict[str, Tensor]:
        """Sums over pixels, averaged over images: `loss` (Bernoulli: in nats) and `squared_error`."""
        logits = self.decoder(self.encoder(image))
        shown = logits if self.criterion == "mse" else logits.detach()
        squared_error = (self.pixels(shown) - image).square().flatten(1).sum(1).mean()
        loss = squared_error if self.criterion == "mse" else bernoulli_nll(logits, image).mean()
        return {"loss": loss, "squared_error": squared_error}

    def pixels(self, logits: Tensor) -> Tensor:
        """The decoder's logits (N, C, H, W) as pixels, in [0, 1] unless `output` is identity."""
        return logits.float().sigmoid() if self.output == "sigmoid" else logits.float()

    def encode(self, image: Tensor) -> Tensor:
        return self.encoder(image).float()

    def decode(self, code: Tensor) -> Tensor:
        return self.pixels(self.decoder(code)).clamp(0, 1)

    def reconstruct(self, image: Tensor) -> Tensor:
        return self.decode(self.encode(image))
