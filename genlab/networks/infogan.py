"""InfoGAN's two networks: DCGAN's convolutions with one fully connected layer more, next to the code.

Chen et al., InfoGAN, NeurIPS 2016 (arXiv:1606.03657), appendix C.1: at 28 pixels, width 64 and 1,024 hidden units these
are the paper's but for one batch norm. Lucic et al., Are GANs Created Equal?, NeurIPS 2018, compare losses on them.
"""

from __future__ import annotations

from torch import nn

from genlab.networks.dcgan import dcgan_discriminator, dcgan_generator
from genlab.networks.shapes import Size, misfit
from genlab.registry import NETWORKS, PositiveInt


@NETWORKS("infogan_generator")
def infogan_generator(inp: Size, out: Size, width: PositiveInt = 64, hidden: PositiveInt = 1024) -> nn.Sequential:
    """Code (N, inp) to image logits (N, C, H, W): `hidden` units, normalised, then `dcgan_generator` from these."""
    if not isinstance(inp, int) or isinstance(out, int):
        raise misfit("infogan_generator", "a vector to an image", inp, out)
    first = [nn.Linear(inp, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)]
    return nn.Sequential(*first, *dcgan_generator(hidden, out, width=width))


@NETWORKS("infogan_discriminator")
def infogan_discriminator(inp: Size, out: Size, width: PositiveInt = 64, hidden: PositiveInt = 1024) -> nn.Sequential:
    """Images (N, C, H, W) in [-1, 1] to logits (N, out): `dcgan_discriminator` to `hidden` units."""
    if isinstance(inp, int) or not isinstance(out, int):
        raise misfit("infogan_discriminator", "an image to a vector", inp, out)
    # not normalised as the paper's is: of a batch of fakes alone that takes away what all have in common
    last = [nn.LeakyReLU(0.2, inplace=True), nn.Linear(hidden, out)]
    return nn.Sequential(*dcgan_discriminator(inp, hidden, width=width), *last)
