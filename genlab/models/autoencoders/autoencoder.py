"""Autoencoder.

One network squeezes an image into a short code, another rebuilds the image from it; both learn by making the
rebuilt image like the original. What does not fit through the code is what the code has learned to leave out.

Hinton & Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, Science 313 (2006).
A wide code must be kept from copying: by a corruption to be undone (Vincent et al., ICML 2008), a penalty on the
code (sparse: Ng 2011; contractive: Rifai et al., ICML 2011), or few active numbers (k-sparse: Makhzani & Frey 2014).
Layers trained one after another before the whole: Bengio et al., Greedy Layer-Wise Training, NeurIPS 2006.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from genlab.core.model import Model, Phase, Shape
from genlab.errors import ConfigError
from genlab.nn.layers.activations import ACTIVATIONS, Activation
from genlab.nn.layers.boltzmann import RBMEnergy, contrastive_divergence
from genlab.nn.losses.likelihood import bernoulli_nll
from genlab.nn.losses.penalties import KeepLargest
from genlab.nn.networks.mlp import layer_by_layer, linear_map, tied_mlp
from genlab.registry import (
    CORRUPTIONS,
    MODELS,
    NETWORKS,
    PENALTIES,
    CorruptionSpec,
    Fraction,
    NetworkSpec,
    PenaltySpec,
    PositiveInt,
    Spec,
)


@MODELS("autoencoder")
class Autoencoder(Model):
    """`decoder` is another spec than `network` for the way back; None mirrors `network`.

    `output` makes pixels of the decoder's logits; the Bernoulli loss means a sigmoid whatever it says.
    """

    points: ClassVar = {"output": "identity", "loss": "mse"}

    def __init__(
        self,
        image_shape: Shape,
        network: NetworkSpec,
        decoder: NetworkSpec | None = None,
        latent_dim: PositiveInt = 32,
        loss: Literal["mse", "bernoulli"] = "mse",
        output: Literal["sigmoid", "identity"] = "sigmoid",
        code: Literal["linear"] | Activation = "linear",
        k_sparse: PositiveInt | None = None,
        tied: bool = False,
        corruption: CorruptionSpec | None = None,
        penalty: PenaltySpec | None = None,
        pretrain: Literal["autoencoder", "rbm"] | None = None,
        pretrain_share: Fraction = 0.3,
    ) -> None:
        super().__init__()
        _check_layers(network, decoder, tied, pretrain)
        self.criterion = loss
        self.output = "sigmoid" if loss == "bernoulli" else output
        encoder = NETWORKS.build(network, "model.network", inp=image_shape, out=latent_dim)
        ends = [] if code == "linear" else [ACTIVATIONS[code]()]
        ends += [KeepLargest(k_sparse)] if k_sparse else []
        self.encoder = nn.Sequential(*(encoder if isinstance(encoder, nn.Sequential) else [encoder]), *ends)
        if tied:
            self.decoder = tied_mlp(encoder, image_shape)
        else:
            self.decoder = NETWORKS.build(decoder or network, "model.decoder", inp=latent_dim, out=image_shape)
        self.corrupt = CORRUPTIONS.build(corruption, "model.corruption") if corruption else lambda image: image
        self.penalty = PENALTIES.build(penalty, "model.penalty", encoder=self.encoder) if penalty else None
        self.tied, self.linear, self.pretrain, self.pretrain_share = tied, code == "linear", pretrain, pretrain_share
        self.monitor = "whole/loss" if pretrain else "loss"

    def phases(self) -> list[Phase]:
        """The layers in turn, from the image inwards, each with its mirror image; then the whole."""
        if not self.pretrain:
            return [Phase("model", self.loss, self)]
        return [*self._pretraining(), Phase("whole", self.loss, self, window=(self.pretrain_share, 1.0))]

    def _pretraining(self) -> Iterator[Phase]:
        layers = self.layers()
        share = self.pretrain_share / len(layers)
        for i, layer in enumerate(layers):
            window = (i * share, (i + 1) * share)
            if self.pretrain == "autoencoder":
                yield Phase(f"layer{i}", partial(self.layer_loss, i), nn.ModuleList(layer), window=window)
                continue
            machine = self.machine(i)
            parameters = nn.ParameterList([machine.weight, machine.visible_bias, machine.hidden_bias])
            yield Phase(f"layer{i}", partial(self.machine_loss, i), parameters, window=window)
            if not self.tied:
                yield Phase(f"unroll{i}", partial(self.unroll, i), window=window, gathers=False)

    def layers(self) -> list[tuple[nn.Sequential, nn.Sequential]]:
        """(one layer of the encoder, its mirror image), from the image inwards."""
        return list(zip(layer_by_layer(self.encoder), reversed(layer_by_layer(self.decoder)), strict=True))

    def machine(self, i: int) -> RBMEnergy:
        """Layer i as a Boltzmann machine: binary units, but Gaussian ones for a linear code (the paper's note 8)."""
        up, down = (linear_map(part) for part in self.layers()[i])
        assert isinstance(up, nn.Linear)
        last = i + 1 == len(self.layers())
        return RBMEnergy(up.weight, down.bias, up.bias, hidden="gaussian" if last and self.linear else "binary")

    def loss(self, image: Tensor) -> dict[str, Tensor]:
        """Sums over pixels, averaged over images: `loss` (Bernoulli: in nats) and `squared_error`.

        The reconstruction is that of the corrupted image, held against the clean one. With a penalty `loss` is
        `reconstruction` + weight·`penalty`, and both are logged too.
        """
        seen = self.corrupt(image)
        code = self.encoder(seen)
        terms = self.compare(self.decoder(code), image)
        if self.penalty is None:
            return terms
        penalty = self.penalty(self.encoder, seen, code)
        reconstruction = terms["loss"]
        return terms | {
            "loss": reconstruction + self.penalty.weight * penalty,
            "reconstruction": reconstruction,
            "penalty": penalty,
        }

    def below(self, i: int, image: Tensor) -> Tensor:
        """What the layers before layer i make of the image."""
        with torch.no_grad():
            for encode, _ in self.layers()[:i]:
                image = encode(image)
        return image

    def layer_loss(self, i: int, image: Tensor) -> dict[str, Tensor]:
        """Layer i and its mirror image as an autoencoder of what lies below: its own loss, or the squared error."""
        encode, decode = self.layers()[i]
        if i == 0:
            return self.compare(decode(encode(self.corrupt(image))), image)
        below = self.below(i, image)
        return {"loss": (decode(encode(below)).float() - below.float()).square().sum(1).mean()}

    def machine_loss(self, i: int, image: Tensor) -> dict[str, Tensor]:
        """One step of contrastive divergence: its gradient is the update, its value says nothing."""
        return {"loss": contrastive_divergence(self.machine(i), self.below(i, image).flatten(1), mean=True)}

    def unroll(self, i: int, image: Tensor) -> dict[str, Tensor]:
        """The mirror image starts with the machine's weights (figure 1: unrolling), and is free from then on."""
        down = linear_map(self.layers()[i][1])
        assert isinstance(down, nn.Linear)
        down.weight.copy_(self.machine(i).weight.t())
        return {}

    def compare(self, logits: Tensor, image: Tensor) -> dict[str, Tensor]:
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


def _check_layers(network: Spec, decoder: Spec | None, tied: bool, pretrain: str | None) -> None:
    """ConfigError where weights are to be tied, or layers trained one by one, and the networks do not allow it."""
    if (tied or pretrain) and (network["name"] != "mlp" or decoder):
        raise ConfigError(
            f"only the layers of an mlp and its mirror image can be {'tied' if tied else 'trained one by one'}",
            "model.network.name=mlp model.decoder=null",
            "add model.tied=false model.pretrain=null",
        )
    if pretrain == "rbm" and network["hidden"] and network.get("activation") != "sigmoid":
        raise ConfigError(
            "the units of Boltzmann machines are sigmoids",
            "model.pretrain=rbm",
            "add model.network.activation=sigmoid",
        )
