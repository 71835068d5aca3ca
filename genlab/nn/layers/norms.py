"""Normalisation of image networks, by name."""

from __future__ import annotations

from typing import Literal

from torch import nn

ImageNorm = Literal["instance", "batch", "none"]


def normalize(norm: ImageNorm, channels: int) -> list[nn.Module]:
    """The layer, in a list; empty for none. Scale and shift are learned.

    Instance norm is batch norm of a batch of one image: Ulyanov, Vedaldi & Lempitsky, 2016 (arXiv:1607.08022).
    """
    if norm == "none":
        return []
    return [nn.InstanceNorm2d(channels, affine=True) if norm == "instance" else nn.BatchNorm2d(channels)]


def normal_weights(network: nn.Module) -> None:
    """Convolutions' weights from N(0, 0.02), norms' scales from N(1, 0.02), no shifts: as in DCGAN and pix2pix."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.InstanceNorm2d | nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
