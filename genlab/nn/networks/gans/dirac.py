"""The two networks of the Dirac-GAN: a generator of one point, and a linear discriminator.

Mescheder, Geiger & Nowozin, Which Training Methods for GANs do actually Converge?, ICML 2018 (arXiv:1801.04406),
definition 2.1; as in Nagarajan & Kolter, Gradient descent GAN optimization is locally stable, NeurIPS 2017.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Gt, Lt
from torch import Tensor, nn

from genlab.nn.layers.shapes import Image, Size, misfit, volume
from genlab.registry import NETWORKS

Start = Annotated[float, Gt(-1e30), Lt(1e30)]


@NETWORKS("dirac_generator")
class DiracGenerator(nn.Module):
    """G(z) = θ, of the shape of an image, for every z (N, D); all elements of θ start at `start`."""

    def __init__(self, inp: Size, out: Size, start: Start = 1.0) -> None:
        super().__init__()
        if not isinstance(inp, int) or isinstance(out, int):
            raise misfit("dirac_generator", "a code to an image", inp, out)
        self.theta = nn.Parameter(torch.full(out, start))

    def forward(self, code: Tensor) -> Tensor:
        return self.theta.expand(len(code), *self.theta.shape)


@NETWORKS("dirac_discriminator")
class DiracDiscriminator(nn.Module):
    """D(x) = ψ·x, the logit (N, 1) of images x; all elements of ψ start at `start`."""

    def __init__(self, inp: Image, out: int, start: Start = 1.0) -> None:
        super().__init__()
        if isinstance(inp, int) or out != 1:
            raise misfit("dirac_discriminator", "an image to one logit", inp, out)
        self.psi = nn.Parameter(torch.full((volume(inp),), start))

    def forward(self, image: Tensor) -> Tensor:
        return image.flatten(1) @ self.psi[:, None]
