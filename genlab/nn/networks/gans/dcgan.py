"""The networks of DCGAN: strided 4x4 convolutions, batch norm, no fully connected hidden layers unless asked for.

The generator starts from a small map and doubles it up to the image; the discriminator mirrors it.
Radford, Metz & Chintala, Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks, ICLR 2016 (arXiv:1511.06434): section 3's guidelines and figure 1. InfoGAN's networks (Chen et al. 2016,
appendix C) have `hidden` layers between the vector and the small map.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import nn

from genlab.nn.layers import shapes
from genlab.nn.layers.minibatch import Minibatch, logit_head
from genlab.nn.layers.shapes import Image, Size, misfit
from genlab.nn.layers.spectral import spectral
from genlab.registry import NETWORKS, PositiveInt

LARGEST_BASE = 8


@NETWORKS("dcgan_generator")
def dcgan_generator(
    inp: Size, out: Size, base_channels: PositiveInt = 64, hidden: Sequence[PositiveInt] = ()
) -> nn.Sequential:
    """Code (N, inp) to image logits (N, C, H, W), whose tanh is the image in [-1, 1].

    `base_channels` feature maps next to the image, doubled at each downsampling: 64 as in the authors' released code;
    128 gives figure 1's 1024-512-256-128 at 64 pixels. `hidden`: widths of fully connected layers before the small map.
    """
    if not isinstance(inp, int) or isinstance(out, int):
        raise misfit("dcgan_generator", "a vector to an image", inp, out)
    base, doublings = smallest_map("dcgan_generator", out)
    channels = [base_channels * 2**i for i in reversed(range(doublings))]
    layers: list[nn.Module] = []
    for a, b in pairwise([inp, *hidden]):
        layers += [nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.ReLU(inplace=True)]
    # "project and reshape": a transposed convolution of a 1x1 map
    vector = hidden[-1] if hidden else inp
    layers += [nn.Unflatten(1, (vector, 1, 1)), nn.ConvTranspose2d(vector, channels[0], base, bias=False)]
    for a, b in pairwise(channels):
        layers += [
            nn.BatchNorm2d(a),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(a, b, 4, 2, padding=1, bias=False),
        ]
    layers += [nn.BatchNorm2d(base_channels), nn.ReLU(inplace=True)]
    # no batch norm on the generator's output layer
    layers.append(nn.ConvTranspose2d(base_channels, out[0], 4, 2, padding=1, bias=False))
    return _initialized(nn.Sequential(*layers))


@NETWORKS("dcgan_discriminator")
def dcgan_discriminator(
    inp: Size,
    out: Size,
    base_channels: PositiveInt = 64,
    norm: Literal["batch", "layer", "spectral", "none"] = "batch",
    minibatch: Minibatch = "none",
    hidden: Sequence[PositiveInt] = (),
) -> nn.Sequential:
    """Images (N, C, H, W) in [-1, 1] to logits (N, out). `base_channels` and `hidden` as in `dcgan_generator`.

    A critic with a gradient penalty needs `norm` layer or none, so that a score depends on its own image alone;
    spectral norm applies to all layers. `minibatch` gives the last layer statistics of the similarity within a batch.
    """
    if isinstance(inp, int) or not isinstance(out, int):
        raise misfit("dcgan_discriminator", "an image to a vector", inp, out)
    base, num_downsamples = smallest_map("dcgan_discriminator", inp)
    channels = [base_channels * 2**i for i in range(num_downsamples)]
    # no norm on the discriminator's input layer
    layers: list[nn.Module] = [
        nn.Conv2d(inp[0], base_channels, 4, 2, padding=1, bias=norm == "spectral"),
        nn.LeakyReLU(0.2, inplace=True),
    ]
    for a, b in pairwise(channels):
        layers += [
            nn.Conv2d(a, b, 4, 2, padding=1, bias=norm in ("none", "spectral")),
            *_normalizing(norm, b),
            nn.LeakyReLU(0.2, inplace=True),
        ]
    if minibatch == "none" and not hidden:
        layers += [nn.Conv2d(channels[-1], out, base, bias=False), nn.Flatten()]
    else:
        features = [channels[-1] * base[0] * base[1], *hidden]
        layers.append(nn.Flatten())
        for a, b in pairwise(features):
            layers += [
                nn.Linear(a, b, bias=norm in ("none", "spectral")),
                *_normalizing(norm, b, nn.BatchNorm1d),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        layers += logit_head(features[-1], out, minibatch)
    network = _initialized(nn.Sequential(*layers))
    return spectral(network) if norm == "spectral" else network


def _normalizing(norm: str, channels: int, batch: type[nn.Module] = nn.BatchNorm2d) -> list[nn.Module]:
    """The norm that follows a layer; layer norm is over the channels and positions of an image."""
    if norm == "batch":
        return [batch(channels)]
    return [nn.GroupNorm(1, channels)] if norm == "layer" else []


def smallest_map(network: str, image: Image) -> tuple[tuple[int, int], int]:
    """The size of the map that the generator starts from, and how many doublings lead to the image."""
    return shapes.smallest_map(network, image, LARGEST_BASE, least=4)


def _initialized(network: nn.Sequential) -> nn.Sequential:
    """Weights from N(0, 0.02) (section 4); batch norm's scale from N(1, 0.02), shift 0 (authors' code)."""
    for module in network:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
    return network
