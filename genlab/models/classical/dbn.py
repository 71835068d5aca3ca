"""Deep belief network.

A stack of restricted Boltzmann machines, trained one after another, each on the hidden units of the one below. The top
two layers stay a Boltzmann machine; the connections below lead downwards: an image is a state of the top machine,
carried down.

Hinton, Osindero & Teh, A Fast Learning Algorithm for Deep Belief Nets, Neural Computation 18 (2006).
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Annotated

import torch
from annotated_types import MinLen
from torch import Tensor, nn

from genlab.core.model import Model, Phase, Shape
from genlab.nn.layers.boltzmann import FIRST_STEP, Binarize, BoltzmannLayer, Pixels
from genlab.nn.losses.boltzmann import Distribution, drawn
from genlab.registry import MODELS, PositiveFloat, PositiveInt


@MODELS("dbn")
class DBN(Model):
    """Each machine has an equal share of the run. Only the top one, which generates, may keep `chains`."""

    monitor = None  # no number of one layer says how good the stack is

    def __init__(
        self,
        image_shape: Shape,
        hidden: Annotated[list[PositiveInt], MinLen(1)],
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
        self.layers = nn.ModuleList()
        sizes = [self.data.count, *hidden]
        for depth, (below, above) in enumerate(itertools.pairwise(sizes)):
            distribution = visible if depth == 0 else "binary"
            kept = chains if depth == len(hidden) - 1 else None
            self.layers.append(BoltzmannLayer(below, above, distribution, kept))

    def phases(self) -> list[Phase]:
        """Greedy: layer k learns in its own share of the run, on what the layers below, by then at rest, make."""
        n = len(self.layers)
        start = Phase("start", self.start, window=FIRST_STEP)
        return [start] + [
            Phase(f"layer{k + 1}", partial(self.layer_loss, k), layer, window=(k / n, (k + 1) / n))
            for k, layer in enumerate(self.layers)
        ]

    def start(self, image: Tensor) -> dict[str, Tensor]:
        return self.layer(0).start(self.data.units(image))

    def layer_loss(self, depth: int, image: Tensor) -> dict[str, Tensor]:
        """`loss`, whose gradient is layer `depth`'s (P)CD update, and the squared error of its reconstruction."""
        layer = self.layer(depth)
        with torch.no_grad():
            v = self.data.units(image, draw=True)
            for below in range(depth):
                v = drawn(self.layer(below).machine.hidden_mean(v))
            again = layer.machine.visible_mean(layer.machine.hidden_mean(v))
        return {"loss": layer.loss(v, self.steps), "squared_error": (again - v).square().sum(1).mean()}

    def layer(self, depth: int) -> BoltzmannLayer:
        layer = self.layers[depth]
        assert isinstance(layer, BoltzmannLayer)
        return layer

    def encode(self, image: Tensor) -> Tensor:
        """Probabilities of the top layer's units, (N, H), each layer given those of the one below."""
        v = self.data.units(image)
        for depth in range(len(self.layers)):
            v = self.layer(depth).machine.hidden_mean(v)
        return v

    def decode(self, code: Tensor) -> Tensor:
        """The way down with probabilities."""
        for depth in reversed(range(len(self.layers))):
            code = self.layer(depth).machine.visible_mean(code)
        return self.data.image(code)

    def reconstruct(self, image: Tensor) -> Tensor:
        return self.decode(self.encode(image))

    def sample(self, n: int) -> Tensor:
        """`burn_in` Gibbs rounds in the top machine, then down, drawing every layer but the pixels."""
        *below, top = range(len(self.layers))
        v = self.layer(top).gibbs_sample(n, self.burn_in)
        for depth in reversed(below):
            v = self.layer(depth).machine.visible_mean(drawn(v))
        return self.data.image(v)

    def filters(self) -> Tensor:
        """The rows of the first layer's weights as images, (H, C, H, W)."""
        return self.layer(0).weight.detach().unflatten(1, self.data.shape)
