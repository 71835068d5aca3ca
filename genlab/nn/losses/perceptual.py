"""Perceptual loss: the distance between images in the feature space of a frozen network.

Hou, Shen, Sun & Qiu, Deep Feature Consistent Variational Autoencoder, WACV 2017 (arXiv:1610.00291), section 3.2.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from annotated_types import Le, MinLen
from torch import Tensor, nn

from genlab.core.model import Shape
from genlab.errors import ConfigError
from genlab.nn.pretrained.efficientnet_lite0 import EfficientNetLite0
from genlab.registry import NETWORKS, NetworkSpec, NonNegativeInt, PositiveFloat, PositiveInt, Registry

PERCEPTUAL = Registry("perceptual loss", runtime=("image_shape",))
PerceptualSpec = PERCEPTUAL.spec_type()
Layers = Annotated[list[NonNegativeInt], MinLen(1)]
Stages = Annotated[list[Annotated[NonNegativeInt, Le(8)]], MinLen(1)]


class FeatureDistance(nn.Module):
    """Compares images by the outputs of a frozen network's `layers`; `weight` is the weight in a model's loss."""

    def __init__(self, layers: list[int], weight: float) -> None:
        super().__init__()
        self.layers, self.weight = sorted(set(layers)), weight

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
        raise NotImplementedError


@PERCEPTUAL("features")
class OwnFeatures(FeatureDistance):
    """`network` maps an image in [0, 1] to `outputs` numbers; its weights come from the safetensors file `weights`.

    The file is read when a run starts; from then on the run's checkpoints hold the weights. `layers` are the indices,
    from 0, of the network's layers whose outputs are compared.
    """

    def __init__(
        self,
        image_shape: Shape,
        network: NetworkSpec,
        outputs: PositiveInt,
        weights: str,
        layers: Layers,
        weight: PositiveFloat = 1.0,
    ) -> None:
        super().__init__(layers, weight)
        self.file = weights
        self.network = NETWORKS.build(network, "model.perceptual.network", inp=image_shape, out=outputs)
        if not isinstance(self.network, nn.Sequential) or self.layers[-1] >= len(self.network):
            raise ConfigError(
                f"network '{network['name']}' has no layer {self.layers[-1]}",
                "key model.perceptual.layers",
                f"choose from 0 to {len(self.network) - 1}" if isinstance(self.network, nn.Sequential) else "use conv",
            )
        self.requires_grad_(False)
        self.eval()

    def features(self, image: Tensor) -> list[Tensor]:
        found: list[Tensor] = []
        value: Any = image
        for index, layer in enumerate(self.network[: self.layers[-1] + 1]):
            value = layer(value)
            if index in self.layers:
                found.append(value.clone())  # the next layer may modify it in place
        return found


@PERCEPTUAL("efficientnet_lite0")
class EfficientNetDistance(FeatureDistance):
    """The network is EfficientNet-Lite0, which was trained on photographs; needs the extra `features`.

    `layers` are its stages (genlab/nn/pretrained/efficientnet_lite0.py); images are not resized. Its weights are those
    of the package: they are not part of the model, of its checkpoints or of its average.
    """

    def __init__(self, image_shape: Shape, layers: Stages | None = None, weight: PositiveFloat = 1.0) -> None:
        super().__init__(layers or [1, 2, 3, 5], weight)
        if image_shape[0] not in (1, 3):
            raise ConfigError(
                f"EfficientNet-Lite0 sees images of 1 or 3 channels, these have {image_shape[0]}",
                "key model.perceptual",
                "use model.perceptual=null",
            )
        self.loaded: tuple[EfficientNetLite0, ...] = ()  # a tuple, so that it is not a part of this module
        self.place: Tensor
        self.register_buffer("place", torch.empty(0), persistent=False)  # moves with the model; the network follows

    def load(self) -> None:
        """Read the weights; DataError if the package is missing. Otherwise they are read when first needed."""
        self.loaded = (EfficientNetLite0.pretrained(like=self.place),)

    def features(self, image: Tensor) -> list[Tensor]:
        if not self.loaded:
            self.load()
        return self.loaded[0].outputs(image, self.layers)
