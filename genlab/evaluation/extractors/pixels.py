"""Raw pixels as features: for points, tiny images, and to see what an extractor adds."""

from __future__ import annotations

from torch import Tensor, nn

from genlab.registry import EXTRACTORS


@EXTRACTORS("pixels")
class Pixels(nn.Module):
    """An image's numbers as they are."""

    name, resize, digest, channels = "pixels", "none", "", None

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) to features (N, C·H·W)."""
        return images.flatten(1)
