"""Features of photographs: the last ones of EfficientNet-Lite0, whose weights come with the extra `features`.

For natural images (rooms, faces, animals), without a file from elsewhere. It is not the network of the
published FID: its figures compare models within genlab.
"""

from __future__ import annotations

from torch import Tensor, nn

from genlab.evaluation.extraction import in_parts, resized
from genlab.nn.pretrained.efficientnet_lite0 import SIDE, WEIGHTS, EfficientNetLite0
from genlab.registry import EXTRACTORS


@EXTRACTORS("efficientnet_lite0")
class EfficientNetFeatures(nn.Module):
    """1,280 features of ImageNet's classifier: the mean over places of its last convolution.

    The whole image is resized, not its center cropped; then (255 x − 127) / 128, as in training.
    """

    name, resize = "efficientnet_lite0", f"{SIDE} px, antialiased bicubic; gray images in three equal channels"
    digest, channels = WEIGHTS.sha256, (1, 3)

    def __init__(self) -> None:
        super().__init__()
        self.network = EfficientNetLite0.pretrained()

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 1 or 3, H, W) in [0, 1] to features (N, 1280), float32."""
        return in_parts(lambda part: self.network.features(resized(part.float(), SIDE)), images)
