"""Splitting a network in two, so that its intermediate features can be read."""

from __future__ import annotations

import torch
from torch import nn

from genlab.errors import ConfigError

WEIGHTED = (nn.Linear, nn.Conv2d)


def cut(network: nn.Module, key: str, stage: int | None = None) -> tuple[nn.Sequential, nn.Sequential]:
    """The first `stage` stages of a network, and the rest, sharing its layers; None: all but the last stage.

    A stage is a linear layer or convolution and the layers that follow it up to the next one (norm, activation). Each
    part has at least one stage: a network with too few is split before its last. ConfigError, naming the config key
    `key`, if the network is not a sequence of at least two stages.
    """
    starts: list[int] = []
    if isinstance(network, nn.Sequential):
        starts = [i for i, layer in enumerate(network) if any(isinstance(m, WEIGHTED) for m in layer.modules())]
    if len(starts) < 2 or not isinstance(network, nn.Sequential):
        raise ConfigError("features are read between two layers of this network, which is not a sequence of layers",
                          f"key {key}", "use dcgan_discriminator, or mlp with hidden layers")  # fmt: skip
    place = starts[min(stage or len(starts), len(starts) - 1)]
    return network[:place], network[place:]


@torch.no_grad()
def shape_of(network: nn.Module, inp: tuple[int, ...]) -> tuple[int, ...]:
    """The output shape, without the batch dimension, for inputs of shape `inp`; the network is left unchanged."""
    training = network.training
    shape = network.eval()(torch.zeros(2, *inp)).shape[1:]
    network.train(training)
    return tuple(shape)
