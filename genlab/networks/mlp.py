"""Fully connected network: an encoder, a decoder, or anything between two vectors."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from genlab.networks.activations import ACTIVATIONS, Activation
from genlab.networks.shapes import Size, volume
from genlab.registry import NETWORKS, PositiveInt


@NETWORKS("mlp")
def mlp(inp: Size, out: Size, hidden: list[PositiveInt], activation: Activation = "relu") -> nn.Sequential:
    """Linear layers of widths inp, *hidden, out with `activation` between them; hidden=[] is one linear map.

    `hidden` is given from the image's side, so that one spec serves both halves of an autoencoder: it is
    reversed when a vector becomes an image. Images are flattened on the way in and shaped on the way out.
    Weights start as torch's: uniform within ±1/√fan_in.
    """
    decodes = isinstance(inp, int) and not isinstance(out, int)
    widths = [volume(inp), *(reversed(hidden) if decodes else hidden), volume(out)]
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), ACTIVATIONS[activation]()]
    layers.pop()  # a network ends in logits
    if not isinstance(inp, int):
        layers.insert(0, nn.Flatten())
    if not isinstance(out, int):
        layers.append(nn.Unflatten(1, out))
    return nn.Sequential(*layers)
