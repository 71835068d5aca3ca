"""PatchGAN: a discriminator that classifies overlapping patches independently.

It sees texture only; structure at larger distances is left to another loss. Isola, Zhu, Zhou & Efros,
Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017 (arXiv:1611.07004), sections 3.2.2
and 6.1.2.
"""

from __future__ import annotations

from torch import nn

from genlab.nn.layers.norms import ImageNorm, normal_weights, normalize
from genlab.nn.layers.shapes import Size, misfit
from genlab.registry import NETWORKS, PositiveInt

MAX_FACTOR = 8  # of base_channels


@NETWORKS("patchgan")
def patchgan(
    inp: Size, out: Size, base_channels: PositiveInt = 64, layers: PositiveInt = 3, norm: ImageNorm = "instance"
) -> nn.Sequential:
    """Images (N, C, H, W) to logits (N, out, h, w), one for each patch.

    `layers` convolutions halve the image, two more keep its size. With 3 it is the paper's C64-C128-C256-C512, whose
    patches are 70x70; 1 gives 16x16, 2 gives 34x34. Small images are halved less often, to 3 pixels at least.
    """
    if isinstance(inp, int) or not isinstance(out, int):
        raise misfit("patchgan", "an image to a logit a patch", inp, out)
    num_downsamples = max(n for n in range(layers + 1) if n == 0 or min(inp[1:]) >> n >= 3)
    channels = [base_channels * min(2**i, MAX_FACTOR) for i in range(num_downsamples + 1)]
    modules: list[nn.Module] = []
    for i, b in enumerate(channels):
        stride = 2 if i < num_downsamples else 1
        # no norm on the first layer
        modules += [nn.Conv2d(channels[i - 1] if i else inp[0], b, 4, stride, padding=1)]
        modules += [*(normalize(norm, b) if i else []), nn.LeakyReLU(0.2)]
    network = nn.Sequential(*modules, nn.Conv2d(channels[-1], out, 4, padding=1))
    normal_weights(network)
    return network
