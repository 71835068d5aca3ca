"""Restricted Boltzmann machine (RBM).

Pixels v and hidden units h have a joint energy, p(v, h) = exp(−E(v, h)) / Z. Learning lowers the energy of the data and
raises the energy of the model's own samples ("fantasies") until the two distributions agree.

Smolensky 1986; Hinton, Training Products of Experts by Minimizing Contrastive Divergence, Neural Computation 14 (2002).
Persistent chains: Tieleman, ICML 2008.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Any

import torch
from annotated_types import MinLen
from torch import Tensor, nn
from torch.nn.functional import softplus

from genlab.core import rng
from genlab.core.model import Model, Phase, Shape
from genlab.nn.layers.boltzmann import FIRST_STEP, Binarize, BoltzmannLayer, Pixels, RBMEnergy, UnitType, sample_units
from genlab.nn.losses.partition import LogPartition, annealed, exact_log_partition
from genlab.registry import MODELS, PositiveFloat, PositiveInt


class BoltzmannStack(Model):
    """Layers of binary hidden units over the pixels: one in an RBM, several in a deep belief network.

    `visible` binary: the pixels are zeros and ones as `binarize` says; gaussian: they are divided by `sigma`.
    Only the top layer, which generates samples, has persistent `chains`.
    """

    def __init__(
        self,
        image_shape: Shape,
        hidden: Annotated[list[PositiveInt], MinLen(1)],
        visible: UnitType = "binary",
        sigma: PositiveFloat = 0.3,
        binarize: Binarize = "sampled",
        cd_k: PositiveInt = 1,
        chains: PositiveInt | None = 100,
        burn_in: PositiveInt = 500,
    ) -> None:
        super().__init__()
        self.data = Pixels(image_shape, visible, sigma, binarize)
        self.cd_k, self.burn_in = cd_k, burn_in
        self.layers = nn.ModuleList()
        for depth, (below, above) in enumerate(itertools.pairwise([self.data.count, *hidden])):
            top = depth == len(hidden) - 1
            self.layers.append(BoltzmannLayer(below, above, "binary" if depth else visible, chains if top else None))

    def layer(self, depth: int) -> BoltzmannLayer:
        layer = self.layers[depth]
        assert isinstance(layer, BoltzmannLayer)
        return layer

    def init_bias(self, image: Tensor) -> dict[str, Tensor]:
        self.layer(0).init_bias(self.data.units(image))
        return {}

    def encode(self, image: Tensor) -> Tensor:
        """Probabilities of the top layer's units, (N, H), each layer given the probabilities of the one below."""
        v = self.data.units(image)
        for depth in range(len(self.layers)):
            v = self.layer(depth).energy.hidden_mean(v)
        return v

    def decode(self, code: Tensor) -> Tensor:
        """Downward pass with probabilities: codes (N, H) to images in [0, 1]."""
        for depth in reversed(range(len(self.layers))):
            code = self.layer(depth).energy.visible_mean(code)
        return self.data.image(code)

    def reconstruct(self, image: Tensor) -> Tensor:
        """Mean field: up and down once, with probabilities instead of samples."""
        return self.decode(self.encode(image))

    def sample(self, n: int) -> Tensor:
        """Pixel probabilities after `burn_in` Gibbs rounds in the top layer; the layers below it are sampled."""
        *below, top = range(len(self.layers))
        v = self.layer(top).gibbs_sample(n, self.burn_in)
        for depth in reversed(below):
            v = self.layer(depth).energy.visible_mean(sample_units(v))
        return self.data.image(v)

    def filters(self) -> Tensor:
        """The rows of the first layer's weights as images, (H, C, H, W)."""
        return self.layer(0).weight.detach().unflatten(1, self.data.shape)


@MODELS("rbm")
class RBM(BoltzmannStack):
    """One layer of `hidden` binary units over binary or Gaussian pixels."""

    def __init__(self, image_shape: Shape, hidden: PositiveInt = 500, **options: Any) -> None:
        super().__init__(image_shape, [hidden], **options)
        # the pseudo-likelihood of Gaussian pixels has no closed form
        self.monitor = "pseudo_nll" if self.data.distribution == "binary" else "squared_error"

    @property
    def energy(self) -> RBMEnergy:
        return self.layer(0).energy

    def phases(self) -> list[Phase]:
        start = Phase("start", self.init_bias, window=FIRST_STEP)
        return [start, Phase("model", self.loss, self, metrics=self.metrics)]

    def loss(self, image: Tensor) -> dict[str, Tensor]:
        """`loss` has the gradient of the (P)CD update and a meaningless value."""
        with torch.no_grad():
            v = self.data.units(image, sample=True)
            x = self.energy.hidden_input(v)  # the one product of the data and the weights
        return {"loss": self.layer(0).loss(v, x, self.cd_k)}

    def metrics(self, image: Tensor) -> dict[str, Tensor]:
        """What shows whether learning works.

        `free_energy` of these images, up to log Z: if the gap between training and validation grows, the RBM overfits.
        Binary: `pseudo_nll`, −log of the pseudo-likelihood in nats. Gaussian: `squared_error` of the reconstruction.
        """
        v = self.data.units(image, sample=True)
        x = self.energy.hidden_input(v)
        free_energy = self.energy.free_energy(v, x)
        values = {"free_energy": free_energy.mean()}
        if self.data.distribution == "binary":
            values["pseudo_nll"] = self.pseudo_nll(v, x, free_energy).mean()
        else:
            values["squared_error"] = (self.reconstruct(image) - image).square().flatten(1).sum(1).mean()
        return values

    def pseudo_nll(self, v: Tensor, hidden_input: Tensor, free_energy: Tensor) -> Tensor:
        """−∑ᵢ log p(vᵢ | all other pixels), (N,), estimated from one random pixel i per image."""
        i = (rng.uniform(len(v), 1, like=v) * v.shape[1]).long()
        flipped = v.scatter(1, i, 1 - v.gather(1, i))
        # one pixel changes c + Wv by a multiple of one column of W
        changed = hidden_input + (1 - 2 * v.gather(1, i)) * self.energy.weight.t()[i.squeeze(1)]
        rise = self.energy.free_energy(flipped, changed) - free_energy
        return v.shape[1] * softplus(-rise)  # −log σ(F(ṽ) − F(v))

    def score(self, image: Tensor) -> Tensor:
        """The free energy (N,), −log p up to a constant."""
        return self.energy.free_energy(self.data.units(image))

    def unnormalized(self, image: Tensor) -> Tensor:
        """log p(image) + log Z in nats, (N,). With binarize=sampled the pixels are sampled first."""
        v = self.data.units(image, sample=True)
        # a density of pixels, not of v = pixels / sigma
        log_sigmas = v.shape[1] * math.log(self.data.sigma) if self.data.distribution == "gaussian" else 0.0
        return -self.energy.free_energy(v) - log_sigmas

    def log_partition(self, mean_image: Tensor, chains: int, temperatures: int) -> LogPartition:
        """log Z by annealing from an RBM without weights that has the mean image (C, H, W) of the training data."""
        mean = mean_image.flatten()
        base = mean / self.data.sigma if self.data.distribution == "gaussian" else mean.clamp(0.01, 0.99).logit()
        return annealed(self.energy, base, chains, temperatures)

    def exact_log_partition(self) -> float | None:
        """log Z by enumeration, or None if both layers have more than 20 units."""
        return exact_log_partition(self.energy)
