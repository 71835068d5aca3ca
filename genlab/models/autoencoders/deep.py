"""Deep autoencoder whose layers can be trained one after another before the whole network.

Layer i of the encoder and its mirror image in the decoder learn to reconstruct the output of the layers below, as an
RBM (Hinton & Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, Science 313, 2006) or as an
autoencoder (Bengio et al., Greedy Layer-Wise Training of Deep Networks, NeurIPS 2006). Then all layers are fine-tuned.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genlab.core.model import Phase
from genlab.errors import ConfigError
from genlab.models.autoencoders.autoencoder import Autoencoder, require_mirrored_mlp
from genlab.nn.layers.boltzmann import RBMEnergy, contrastive_divergence
from genlab.nn.networks.mlp import Transposed
from genlab.registry import MODELS, Fraction, NetworkSpec


@MODELS("deep_ae")
class DeepAutoencoder(Autoencoder):
    """`pretrain` is the kind of pre-training, None for none; it takes `pretrain_fraction` of the run, split equally."""

    def __init__(
        self,
        network: NetworkSpec,
        decoder: NetworkSpec | None = None,
        pretrain: Literal["autoencoder", "rbm"] | None = None,
        pretrain_fraction: Fraction = 0.3,
        **options: Any,
    ) -> None:
        if pretrain:
            require_mirrored_mlp(network, decoder, "trained one by one", "model.pretrain=null")
        if pretrain == "rbm" and network["hidden"] and network.get("activation") != "sigmoid":
            message = "the units of RBMs are sigmoids"
            raise ConfigError(message, "model.pretrain=rbm", "add model.network.activation=sigmoid")
        super().__init__(network=network, decoder=decoder, **options)
        self.pretrain, self.pretrain_fraction = pretrain, pretrain_fraction
        self.monitor = "whole/loss" if pretrain else "loss"

    def phases(self) -> list[Phase]:
        """One phase per layer, from the image inward, then the whole network."""
        if not self.pretrain:
            return super().phases()
        return [*self._pretraining(), Phase("whole", self.loss, self, window=(self.pretrain_fraction, 1.0))]

    def _pretraining(self) -> Iterator[Phase]:
        layers = self.layers()
        fraction = self.pretrain_fraction / len(layers)
        for i, layer in enumerate(layers):
            window = (i * fraction, (i + 1) * fraction)
            if self.pretrain == "autoencoder":
                yield Phase(f"layer{i}", partial(self.layer_loss, i), nn.ModuleList(layer), window=window)
                continue
            rbm = self.rbm(i)
            parameters = nn.ParameterList([rbm.weight, rbm.visible_bias, rbm.hidden_bias])
            yield Phase(f"layer{i}", partial(self.rbm_loss, i), parameters, window=window)
            if not self.tied:
                yield Phase(f"unroll{i}", partial(self.unroll, i), window=window, gathers=False)

    def layer_loss(self, i: int, image: Tensor) -> dict[str, Tensor]:
        """Layer i and its mirror image as an autoencoder: squared error, or the whole network's loss for the first."""
        encode, decode = self.layers()[i]
        if i == 0:
            return self.reconstruction_loss(decode(encode(image)), image)
        below = self.below(i, image)
        return {"loss": (decode(encode(below)).float() - below.float()).square().sum(1).mean()}

    def rbm_loss(self, i: int, image: Tensor) -> dict[str, Tensor]:
        """One step of contrastive divergence: the gradient is the update, the value has no meaning."""
        return {"loss": contrastive_divergence(self.rbm(i), self.below(i, image).flatten(1), mean=True)}

    def rbm(self, i: int) -> RBMEnergy:
        """Layer i as an RBM of binary units; the units of a linear code are Gaussian (note 8 of the paper)."""
        up, down = (linear_map(part) for part in self.layers()[i])
        assert isinstance(up, nn.Linear)
        linear_code = up is self.encoder[-1]
        return RBMEnergy(up.weight, down.bias, up.bias, hidden="gaussian" if linear_code else "binary")

    def unroll(self, i: int, image: Tensor) -> dict[str, Tensor]:
        """Copy the RBM's weights, transposed, into the decoder (figure 1: unrolling); fine-tuning separates them."""
        down = linear_map(self.layers()[i][1])
        assert isinstance(down, nn.Linear)
        down.weight.copy_(self.rbm(i).weight.t())
        return {}

    def layers(self) -> list[tuple[nn.Sequential, nn.Sequential]]:
        """(one layer of the encoder, its mirror image), from the image inward."""
        return list(zip(split_layers(self.encoder), reversed(split_layers(self.decoder)), strict=True))

    def below(self, i: int, image: Tensor) -> Tensor:
        """The output of the layers below layer i, without gradient."""
        with torch.no_grad():
            for encode, _ in self.layers()[:i]:
                image = encode(image)
        return image


def split_layers(network: nn.Sequential) -> list[nn.Sequential]:
    """An mlp, cut before each of its linear maps but the first."""
    _, *cuts = [i for i, module in enumerate(network) if isinstance(module, nn.Linear | Transposed)]
    return [network[start:end] for start, end in pairwise([0, *cuts, len(network)])]


def linear_map(layer: nn.Sequential) -> nn.Linear | Transposed:
    """The linear map of one of the layers from `split_layers`."""
    return next(module for module in layer if isinstance(module, nn.Linear | Transposed))
