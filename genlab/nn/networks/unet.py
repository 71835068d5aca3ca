"""U-Net: an encoder and a decoder from image to image, with skip connections between layers of the same size.

What the two images share, such as the position of edges, bypasses the bottleneck at its own resolution.

Ronneberger, Fischer & Brox, MICCAI 2015 (arXiv:1505.04597); as generator: Isola, Zhu, Zhou & Efros, Image-to-Image
Translation with Conditional Adversarial Networks, CVPR 2017 (arXiv:1611.07004), section 6.1.1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.nn.layers.norms import ImageNorm, normal_weights, normalize
from genlab.nn.layers.shapes import Size, misfit, smallest_map
from genlab.registry import NETWORKS, Fraction, PositiveInt

MAX_DOWNSAMPLES = 8  # 256 pixels to 1
LARGEST = 16  # side of the innermost map: the receptive field of a larger one would be too small
MAX_FACTOR = 8  # of base_channels
NOISY = 3  # of the decoder's innermost layers have dropout


@NETWORKS("unet")
class UNet(nn.Module):
    """Images (N, C, H, W) to logits of images (N, C', H, W), halved while the sides are even, at most 8 times.

    At 256 pixels and `base_channels` 64: C64-C128-C256-C512-C512-C512-C512-C512, then CD512-CD512-CD512-C512-C256-
    C128-C64 and one more to the image. `dropout` is the generator's only noise, and stays on at test time (section
    3.2). Norms are those of a batch of one, `instance`, or `batch`.
    """

    def __init__(
        self,
        inp: Size,
        out: Size,
        base_channels: PositiveInt = 64,
        norm: ImageNorm = "instance",
        dropout: Fraction = 0.5,
    ) -> None:
        super().__init__()
        if isinstance(inp, int) or isinstance(out, int) or inp[1:] != out[1:]:
            raise misfit("unet", "an image to one of the same size", inp, out)
        depth = min(smallest_map("unet", inp, LARGEST)[1], MAX_DOWNSAMPLES)
        channels = [base_channels * min(2**i, MAX_FACTOR) for i in range(depth)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for i, b in enumerate(channels):
            last = i == depth - 1  # without a norm: it may have a single pixel
            layers: list[nn.Module] = [nn.LeakyReLU(0.2)] if i else []
            layers.append(nn.Conv2d(channels[i - 1] if i else inp[0], b, 4, 2, padding=1))
            self.down.append(nn.Sequential(*layers, *(normalize(norm, b) if i and not last else [])))
        for i in reversed(range(depth)):
            a = channels[i] if i == depth - 1 else 2 * channels[i]  # all but the innermost have a skip connection
            layers = [nn.ReLU(), nn.ConvTranspose2d(a, channels[i - 1] if i else out[0], 4, 2, padding=1)]
            if i:
                layers += normalize(norm, channels[i - 1])
                layers += [Noise(dropout)] if dropout and i >= depth - NOISY else []
            self.up.append(nn.Sequential(*layers))
        normal_weights(self)

    def forward(self, image: Tensor) -> Tensor:
        skips = [image]
        for layer in self.down:
            skips.append(layer(skips[-1]))
        x = skips.pop()
        for layer in self.up[:-1]:
            x = torch.cat([layer(x), skips.pop()], dim=1)
        logits: Tensor = self.up[-1](x)
        return logits


class Noise(nn.Module):
    """Dropout that is always on; its masks do not depend on the number of processes that share a batch."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        kept = rng.uniform(*x.shape, like=x) >= self.rate
        return x * kept / (1 - self.rate) if self.rate < 1 else x * kept
