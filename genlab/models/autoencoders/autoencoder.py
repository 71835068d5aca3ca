"""Autoencoder.

An encoder compresses an image into a short code, and a decoder reconstructs the image from the code. Both minimize the
reconstruction error, so that the code keeps what matters most for it.

Hinton & Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, Science 313 (2006).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from genlab.core.model import Model, Shape
from genlab.errors import ConfigError
from genlab.nn.layers.activations import ACTIVATIONS, Activation
from genlab.nn.losses.likelihood import bernoulli_nll
from genlab.nn.networks.mlp import tied_mlp
from genlab.registry import MODELS, NETWORKS, NetworkSpec, PositiveInt, Spec


@MODELS("autoencoder")
class Autoencoder(Model):
    """The decoder is built from `decoder` or, if that is None, mirrors `network`.

    `output` maps the decoder's logits to pixels; with the Bernoulli loss it is always the sigmoid. `code` is the
    activation at the end of the encoder. With `tied`, the decoder's weights are the encoder's, transposed.
    """

    points: ClassVar[Mapping[str, Any] | None] = {"output": "identity", "loss": "mse"}

    def __init__(
        self,
        image_shape: Shape,
        network: NetworkSpec,
        decoder: NetworkSpec | None = None,
        latent_dim: PositiveInt = 32,
        loss: Literal["mse", "bernoulli"] = "mse",
        output: Literal["sigmoid", "identity"] = "sigmoid",
        code: Literal["linear"] | Activation = "linear",
        tied: bool = False,
    ) -> None:
        super().__init__()
        if tied:
            require_mirrored_mlp(network, decoder, "tied", "model.tied=false")
        self.image_shape, self.criterion, self.tied = image_shape, loss, tied
        self.output = "sigmoid" if loss == "bernoulli" else output
        encoder = NETWORKS.build(network, "model.network", inp=image_shape, out=latent_dim)
        activation = [] if code == "linear" else [ACTIVATIONS[code]()]
        self.encoder = nn.Sequential(*(encoder if isinstance(encoder, nn.Sequential) else [encoder]), *activation)
        if tied:
            self.decoder = tied_mlp(encoder, image_shape)
        else:
            self.decoder = NETWORKS.build(decoder or network, "model.decoder", inp=latent_dim, out=image_shape)

    def loss(self, image: Tensor) -> dict[str, Tensor]:
        """`loss` (mse: squared error; bernoulli: nats) and `squared_error`: sums over pixels, means over the batch."""
        return self.reconstruction_loss(self.decoder(self.encoder(image)), image)

    def reconstruction_loss(self, logits: Tensor, image: Tensor) -> dict[str, Tensor]:
        """The same, for the decoder's output `logits` (N, C, H, W) and the target `image`."""
        with_gradient = logits if self.criterion == "mse" else logits.detach()
        squared_error = (self.pixels(with_gradient) - image).square().flatten(1).sum(1).mean()
        loss = squared_error if self.criterion == "mse" else bernoulli_nll(logits, image).mean()
        return {"loss": loss, "squared_error": squared_error}

    def pixels(self, logits: Tensor) -> Tensor:
        """The decoder's logits (N, C, H, W) as pixels, in [0, 1] unless `output` is identity."""
        return logits.float().sigmoid() if self.output == "sigmoid" else logits.float()

    def encode(self, image: Tensor) -> Tensor:
        return self.encoder(image).float()

    def decode(self, code: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] of codes (N, D); points of any range."""
        decoded = self.pixels(self.decoder(code))
        return decoded if decoded.shape[2:] == (1, 1) else decoded.clamp(0, 1)

    def reconstruct(self, image: Tensor) -> Tensor:
        return self.decode(self.encode(image))

    def filters(self) -> Tensor:
        """The weights of the units that see all pixels, (K, C, H, W); none if the first layer is not a linear map."""
        first = next((layer for layer in self.encoder if not isinstance(layer, nn.Flatten)), None)
        weights = first.weight if isinstance(first, nn.Linear) else torch.empty(0)
        return weights.detach().reshape(-1, *self.image_shape)


def penalized(terms: dict[str, Tensor], weight: float, penalty: Tensor) -> dict[str, Tensor]:
    """The terms of `reconstruction_loss` with `loss` = `reconstruction` + weight·`penalty`."""
    reconstruction = terms["loss"]
    return {**terms, "loss": reconstruction + weight * penalty, "reconstruction": reconstruction, "penalty": penalty}


def require_mirrored_mlp(network: Spec, decoder: Spec | None, action: str, remedy: str) -> None:
    """ConfigError unless the encoder is an mlp and the decoder its mirror image."""
    if network["name"] != "mlp" or decoder:
        raise ConfigError(
            f"only the layers of an mlp and its mirror image can be {action}",
            "model.network.name=mlp model.decoder=null",
            f"add {remedy}",
        )
