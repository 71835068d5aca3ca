"""Fully connected network: an encoder, a decoder, or a map between two vectors."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.nn.layers.activations import ACTIVATIONS, Activation
from genlab.nn.layers.shapes import Image, Size, volume
from genlab.registry import NETWORKS, PositiveInt


@NETWORKS("mlp")
def mlp(
    inp: Size, out: Size, hidden: Sequence[PositiveInt] = (128, 128, 128), activation: Activation = "relu"
) -> nn.Sequential:
    """Linear layers of widths inp, *hidden, out with `activation` between them; hidden=[] is one linear map.

    `hidden` counts from the image's side and is reversed if a vector is mapped to an image, so that one spec serves
    both halves of an autoencoder. Input images are flattened, output images unflattened. Weights have torch's
    initialization: uniform within ±1/√fan_in.
    """
    decodes = isinstance(inp, int) and not isinstance(out, int)
    widths = [volume(inp), *(reversed(hidden) if decodes else hidden), volume(out)]
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), ACTIVATIONS[activation]()]
    layers.pop()  # the output is linear
    if not isinstance(inp, int):
        layers.insert(0, nn.Flatten())
    if not isinstance(out, int):
        layers.append(nn.Unflatten(1, out))
    return nn.Sequential(*layers)


class Transposed(nn.Module):
    """A linear map with the transposed weights of `layer`, and its own bias."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self._layer = (layer,)  # in a tuple, hence not a submodule: its weights belong to the encoder
        self.bias = nn.Parameter(torch.zeros(layer.in_features))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self._layer[0].weight.t(), self.bias)


def tied_mlp(encoder: nn.Sequential, out: Image) -> nn.Sequential:
    """The decoder of an mlp `encoder`: the same layers in reverse order, with shared, transposed weights."""
    layers: list[nn.Module] = []
    for layer in reversed(encoder):
        layers += [Transposed(layer)] if isinstance(layer, nn.Linear) else []
        layers += [copy.deepcopy(layer)] if not isinstance(layer, nn.Linear | nn.Flatten) else []
    return nn.Sequential(*layers, nn.Unflatten(1, out))
