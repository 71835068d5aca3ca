"""Restricted Boltzmann machine.

Pixels v and hidden units h share an energy, low where they fit together; p(v, h) = exp(−E(v, h)) / Z. Learning lowers
the energy of the data and raises it where the model's own fantasies go, until both look alike.

Smolensky 1986; Hinton, Training Products of Experts by Minimizing Contrastive Divergence, Neural Computation 14 (2002).
Persistent chains: Tieleman, ICML 2008. Advice: Hinton, A Practical Guide to Training Restricted Boltzmann Machines,
UTML TR 2010-003.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genlab.core import rng
from genlab.core.model import Model, Phase, Shape
from genlab.nn.layers.boltzmann import FIRST_STEP, Binarize, BoltzmannLayer, Pixels
from genlab.nn.losses.boltzmann import Distribution
from genlab.nn.losses.partition import LogPartition, annealed, enumerable, exact_log_partition
from genlab.registry import MODELS, PositiveFloat, PositiveInt


@MODELS("rbm")
class RBM(Model):
    """`visible` binary: v is the image, made of zeros and ones as `binarize` says; gaussian: v = image / `sigma`."""

    def __init__(
        self,
        image_shape: Shape,
        hidden: PositiveInt = 500,
        visible: Distribution = "binary",
        sigma: PositiveFloat = 0.3,
        binarize: Binarize = "sampled",
        steps: PositiveInt = 1,
        chains: PositiveInt | None = 100,
        burn_in: PositiveInt = 500,
    ) -> None:
        super().__init__()
        self.data = Pixels(image_shape, visible, sigma, binarize)
        self.steps, self.burn_in = steps, burn_in
        # a pseudo-likelihood has no closed form for Gaussian pixels
        self.monitor = "pseudo_nll" if visible == "binary" else "squared_error"
        self.layer = BoltzmannLayer(self.data.count, hidden, visible, chains)

    def phases(self) -> list[Phase]:
        return [Phase("start", self.start, window=FIRST_STEP), Phase("model", self.loss, self)]

    def start(self, image: Tensor) -> dict[str, Tensor]:
        return self.layer.start(self.data.units(image))

    def loss(self, image: Tensor) -> dict[str, Tensor]:
        """`loss`, whose gradient is the (P)CD update and whose value says nothing, and two that tell of progress.

        `free_energy` of these images, up to log Z: compare training and validation, a gap that grows is overfitting.
        Binary: `pseudo_nll`, −log of the pseudo-likelihood in nats; Gaussian: `squared_error` of a reconstruction.
        """
        v = self.data.units(image, draw=True)
        values = {"loss": self.layer.loss(v, self.steps)}
        with torch.no_grad():
            free_energy = self.layer.machine.free_energy(v)
            values["free_energy"] = free_energy.mean()
            if self.data.distribution == "binary":
                values["pseudo_nll"] = self.pseudo_nll(v, free_energy).mean()
            else:
                values["squared_error"] = (self.reconstruct(image) - image).square().flatten(1).sum(1).mean()
        return values

    def pseudo_nll(self, v: Tensor, free_energy: Tensor) -> Tensor:
        """−∑ᵢ log p(vᵢ | all other pixels), (N,), estimated from one pixel i an image, drawn anew."""
        pixel = (rng.uniform(len(v), 1, like=v) * v.shape[1]).long()
        flipped = v.scatter(1, pixel, 1 - v.gather(1, pixel))
        return v.shape[1] * softplus(free_energy - self.layer.machine.free_energy(flipped))  # −log σ(F(ṽ) − F(v))

    def encode(self, image: Tensor) -> Tensor:
        """Probabilities of the hidden units, (N, H)."""
        return self.layer.machine.hidden_mean(self.data.units(image))

    def decode(self, code: Tensor) -> Tensor:
        return self.data.image(self.layer.machine.visible_mean(code))

    def reconstruct(self, image: Tensor) -> Tensor:
        """Mean field: up and down once, with probabilities in place of draws."""
        return self.decode(self.encode(image))

    def sample(self, n: int) -> Tensor:
        """Pixel probabilities after `burn_in` Gibbs rounds, from the persistent chains or from random pixels."""
        return self.data.image(self.layer.gibbs_sample(n, self.burn_in))

    def score(self, image: Tensor) -> Tensor:
        """The free energy, −log p up to a constant."""
        return self.layer.machine.free_energy(self.data.units(image))

    def filters(self) -> Tensor:
        """What each hidden unit looks for: the rows of W as images, (H, C, H, W)."""
        return self.layer.weight.detach().unflatten(1, self.data.shape)

    def unnormalized(self, image: Tensor) -> Tensor:
        """log p(image) + log Z in nats, (N,); grey pixels are drawn where `binarize` says so."""
        v = self.data.units(image, draw=True)
        density = (
            v.shape[1] * math.log(self.data.sigma) if self.data.distribution == "gaussian" else 0.0
        )  # of pixels, not of v
        return -self.layer.machine.free_energy(v) - density

    def log_partition(self, mean_image: Tensor, chains: int, temperatures: int) -> LogPartition:
        """log Z, annealed from the machine that knows the mean image (C, H, W) of the training data alone."""
        mean = mean_image.flatten()
        base = mean / self.data.sigma if self.data.distribution == "gaussian" else mean.clamp(0.01, 0.99).logit()
        return annealed(self.layer.machine, base, chains, temperatures)

    def exact_log_partition(self) -> float | None:
        """log Z by enumeration, or None: both layers have more than 20 units."""
        return exact_log_partition(self.layer.machine) if enumerable(self.layer.machine) else None
