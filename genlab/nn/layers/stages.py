"""A network cut in two, so that what it sees on the way can be read."""

from __future__ import annotations

import torch
from torch import nn

from genlab.errors import ConfigError

WEIGHTED = (nn.Linear, nn.Conv2d)


def cut(network: nn.Module, key: str, stage: int | None = None) -> tuple[nn.Sequential, nn.Sequential]:
    """The first `stage` stages of a network, and the rest: the same layers, held twice; None: all but the last stage.

    A stage is a linear map or convolution with what follows it up to the next one (norm, activation). At least one
    stage is on either side: a network with fewer than asked for is cut before its last. ConfigError names `key`, the
    network's place in the configuration, if it is no sequence of such layers or has one only.
    """
    starts: list[int] = []
    if isinstance(network, nn.Sequential):
        starts = [i for i, layer in enumerate(network) if any(isinstance(m, WEIGHTED) for m in layer.modules())]
    if len(starts) < 2 or not isinstance(network, nn.Sequential):
        raise ConfigError("features are read between two layers of this network, which is no sequence of layers",
                          f"key {key}", "use dcgan_discriminator, or mlp with hidden layers")  # fmt: skip
    place = starts[min(stage or len(starts), len(starts) - 1)]
    return network[:place], network[place:]


@torch.no_grad()
def shape_of(network: nn.Module, inp: tuple[int, ...]) -> tuple[int, ...]:
    """The shape, without the batch's, of what a network makes of inputs of shape `inp`; leaves no trace in it."""
    training = network.training
    shape = network.eval()(torch.zeros(2, *inp)).shape[1:]
    network.train(training)
    return tuple(shape)
