"""A Boltzmann machine that learns: its parameters, the chains that it may keep running, and images as its units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.model import Shape
from genlab.nn.losses.boltzmann import Distribution, Machine, contrast, drawn, gibbs

Binarize = Literal["sampled", "threshold", "none"]
FIRST_STEP = (0.0, 1e-9)  # a phase's window: of runs shorter than a milliard steps


@dataclass(frozen=True)
class Pixels:
    """How images (N, C, H, W) in [0, 1] become visible units (N, D), and back.

    Binary units: ones and zeros as `binarize` says; Gaussian ones, of unit variance: pixels / `sigma`.
    """

    shape: Shape
    distribution: Distribution
    sigma: float
    binarize: Binarize

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    def units(self, image: Tensor, draw: bool = False) -> Tensor:
        """v of images; where grey is a probability, `draw` draws it and otherwise it stays one."""
        pixels = image.flatten(1).float()
        if self.distribution == "gaussian":
            return pixels / self.sigma
        if self.binarize == "threshold":
            return (pixels >= 0.5).float()
        return drawn(pixels) if draw and self.binarize == "sampled" else pixels

    def image(self, v: Tensor) -> Tensor:
        """Images in [0, 1] of visible units or their means."""
        v = v * self.sigma if self.distribution == "gaussian" else v
        return v.unflatten(1, self.shape).clamp(0, 1)


class BoltzmannLayer(nn.Module):
    """Binary hidden units over visible ones, trained by CD-k or, with `chains`, by persistent CD.

    `chains` (K, D) are fantasies that go on from step to step (Tieleman 2008), the same ones on every rank. They move
    in training mode only and are part of the state: a resumed run goes on with them.
    """

    chains: Tensor | None

    def __init__(
        self, visible: int, hidden: int, distribution: Distribution = "binary", chains: int | None = None
    ) -> None:
        super().__init__()
        self.distribution: Distribution = distribution
        self.weight = nn.Parameter(0.01 * torch.randn(hidden, visible))  # Hinton (2010), section 8.1
        self.visible_bias = nn.Parameter(torch.zeros(visible))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        start = torch.randn(chains or 0, visible)
        self.register_buffer(
            "chains", (start if distribution == "gaussian" else (start > 0).float()) if chains else None
        )

    @property
    def machine(self) -> Machine:
        return Machine(self.weight, self.visible_bias, self.hidden_bias, visible=self.distribution)

    @torch.no_grad()
    def start(self, v: Tensor) -> dict[str, Tensor]:
        """Before learning: biases that give the mean of the data v (N, D) without the hidden units.

        Else all hidden units learn that mean first, and stay alike (Hinton 2010, section 8.1).
        """
        mean = v.mean(0)
        self.visible_bias.copy_(mean if self.distribution == "gaussian" else mean.clamp(0.01, 0.99).logit())
        return {}

    def loss(self, v: Tensor, steps: int) -> Tensor:
        """Free energy at the data v (N, D) minus at fantasies `steps` Gibbs rounds on: the gradient is that of CD."""
        return contrast(self.machine, v, self.fantasies(v, steps))

    def fantasies(self, v: Tensor, steps: int) -> Tensor:
        """What the model believes in: from the data v (CD), or from where the chains were left (persistent CD)."""
        if self.chains is None:
            return gibbs(self.machine, v, steps)
        if self.training:
            with rng.alone():
                self.chains.copy_(gibbs(self.machine, self.chains, steps))
        return self.chains.clone()  # the next step may move the chains before this one's gradient is taken

    def gibbs_sample(self, n: int, steps: int) -> Tensor:
        """n visible states (n, D), `steps` Gibbs rounds from the chains or, without chains, from random units."""
        if self.chains is not None:
            start = self.chains[torch.arange(n, device=self.chains.device) % len(self.chains)]
        else:
            start = rng.normal(n, self.weight.shape[1], like=self.weight)
            start = start if self.distribution == "gaussian" else (start > 0).float()
        return gibbs(self.machine, start, steps, mean=True)
