"""PatchGAN: a discriminator that judges overlapping patches, each for itself.

It looks at texture alone; what is right at a distance is another loss's affair. Isola, Zhu, Zhou & Efros,
Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017 (arXiv:1611.07004), sections 3.2.2
and 6.1.2.
"""

from __future__ import annotations

from torch import nn

from genlab.nn.layers.norms import ImageNorm, normal_weights, normalize
from genlab.nn.layers.shapes import Size, misfit
from genlab.registry import NETWORKS, PositiveInt

WIDEST = 8  # times the first width


@NETWORKS("patchgan")
def patchgan(
    inp: Size, out: Size, width: PositiveInt = 64, layers: PositiveInt = 3, norm: ImageNorm = "instance"
) -> nn.Sequential:
    """Images (N, C, H, W) to logits (N, out, h, w), one for each patch.

    `layers` convolutions halve the image, two more do not. With 3 it is the paper's C64-C128-C256-C512, whose patches
    are 70x70; 1 gives 16x16, 2 gives 34x34. An image that would come down to less than 3 pixels is halved less often.
    """
    if isinstance(inp, int) or not isinstance(out, int):
        raise misfit("patchgan", "an image to a logit a patch", inp, out)
    halved = max(n for n in range(layers + 1) if n == 0 or min(inp[1:]) >> n >= 3)
    widths = [width * min(2**i, WIDEST) for i in range(halved + 1)]
    modules: list[nn.Module] = []
    for i, b in enumerate(widths):
        stride = 2 if i < halved else 1
        # no norm on the first layer
        modules += [nn.Conv2d(widths[i - 1] if i else inp[0], b, 4, stride, padding=1)]
        modules += [*(normalize(norm, b) if i else []), nn.LeakyReLU(0.2)]
    network = nn.Sequential(*modules, nn.Conv2d(widths[-1], out, 4, padding=1))
    normal_weights(network)
    return network
