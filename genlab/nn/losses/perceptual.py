"""Perceptual loss: the distance between images in the feature space of a frozen network that the user provides.

Hou, Shen, Sun & Qiu, Deep Feature Consistent Variational Autoencoder, WACV 2017 (arXiv:1610.00291), section 3.2.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from annotated_types import MinLen
from torch import Tensor, nn

from genlab.core.model import Shape
from genlab.errors import ConfigError
from genlab.registry import NETWORKS, NetworkSpec, NonNegativeInt, PositiveFloat, PositiveInt, Registry

PERCEPTUAL = Registry("perceptual loss", runtime=("image_shape",))
PerceptualSpec = PERCEPTUAL.spec_type()


@PERCEPTUAL("features")
class FeatureDistance(nn.Module):
    """`network` maps an image in [0, 1] to `outputs` numbers; its weights come from the safetensors file `weights`.

    The file is read when a run starts; from then on the run's checkpoints hold the weights. `layers` are the indices,
    from 0, of the network's layers whose outputs are compared; `weight` is the weight of this term in the model's loss.
    """

    def __init__(
        self,
        image_shape: Shape,
        network: NetworkSpec,
        outputs: PositiveInt,
        weights: str,
        layers: Annotated[list[NonNegativeInt], MinLen(1)],
        weight: PositiveFloat = 1.0,
    ) -> None:
        super().__init__()
        self.file, self.layers, self.weight = weights, sorted(set(layers)), weight
        self.network = NETWORKS.build(network, "model.perceptual.network", inp=image_shape, out=outputs)
        if not isinstance(self.network, nn.Sequential) or self.layers[-1] >= len(self.network):
            raise ConfigError(
                f"network '{network['name']}' has no layer {self.layers[-1]}",
                "key model.perceptual.layers",
                f"choose from 0 to {len(self.network) - 1}" if isinstance(self.network, nn.Sequential) else "use conv",
            )
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> FeatureDistance:
        """Stays in evaluation mode, so that batch norm keeps its running statistics."""
        return super().train(False)

    def forward(self, image: Tensor, other: Tensor) -> Tensor:
        """Σ over layers of ½ the mean squared difference of features, (N,); images (N, C, H, W) in [0, 1]."""
        with torch.no_grad():
            target = self.features(image)
        pairs = zip(target, self.features(other), strict=True)
        return 0.5 * torch.stack([(a.float() - b.float()).square().flatten(1).mean(1) for a, b in pairs]).sum(0)

    def features(self, image: Tensor) -> list[Tensor]:
        """The outputs of the chosen layers."""
        found: list[Tensor] = []
        value: Any = image
        for index, layer in enumerate(self.network[: self.layers[-1] + 1]):
            value = layer(value)
            if index in self.layers:
                found.append(value.clone())  # the next layer may modify it in place
        return found
