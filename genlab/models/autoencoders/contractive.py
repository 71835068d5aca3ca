"""Contractive autoencoder: the code changes little when the image does, because ‖∂h/∂x‖²_F is penalized.

Rifai, Vincent, Muller, Glorot & Bengio, Contractive Auto-Encoders: Explicit Invariance During Feature Extraction,
ICML 2011.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from genlab.errors import ConfigError
from genlab.models.autoencoders.autoencoder import Autoencoder, penalized
from genlab.nn.losses.jacobian import estimated_jacobian_norm, sigmoid_jacobian_norm
from genlab.registry import MODELS, NonNegativeFloat, PositiveInt


@MODELS("contractive_ae")
class ContractiveAutoencoder(Autoencoder):
    """`estimate` exact: closed form, for an encoder of one sigmoid layer. hutchinson: an unbiased estimate from
    `probes` random vectors, for any encoder without batch norm.
    """

    def __init__(
        self,
        estimate: Literal["exact", "hutchinson"] = "exact",
        penalty_weight: NonNegativeFloat = 0.1,
        probes: PositiveInt = 1,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.estimate, self.penalty_weight, self.probes = estimate, penalty_weight, probes
        if estimate == "hutchinson" and any(isinstance(layer, _BatchNorm) for layer in self.encoder.modules()):
            raise ConfigError(
                "with batch norm a code depends on the whole batch, so a single image has no Jacobian",
                "model.estimate=hutchinson",
                "use a network without it: conv and resnet take model.network.norm=none",
            )
        if estimate == "exact" and [type(layer) for layer in self.encoder] != [nn.Flatten, nn.Linear, nn.Sigmoid]:
            raise ConfigError(
                "the closed form of the Jacobian's norm holds for one sigmoid layer",
                "model.network={name: mlp, hidden: []} model.code=sigmoid",
                "use model.estimate=hutchinson",
            )

    def loss(self, image: Tensor) -> dict[str, Tensor]:
        """`loss` = `reconstruction` + penalty_weight·`penalty`, the penalty being ‖∂h/∂x‖²_F, averaged over images."""
        terms = self.reconstruction_loss(self.decoder(self.encoder(image)), image)
        if self.estimate == "exact":
            norm = sigmoid_jacobian_norm(self.encoder, image)
        else:
            norm = estimated_jacobian_norm(self.encoder, image, self.probes)
        return penalized(terms, self.penalty_weight, norm.mean())
