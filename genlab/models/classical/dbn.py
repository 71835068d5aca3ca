"""Deep belief network (DBN): a stack of RBMs, trained one after another, each on the hidden units of the one below.

The top two layers form an RBM; the connections below it point downward. A sample is a state of the top RBM, propagated
down to the pixels.

Hinton, Osindero & Teh, A Fast Learning Algorithm for Deep Belief Nets, Neural Computation 18 (2006).
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from genlab.core.model import Phase
from genlab.models.classical.rbm import BoltzmannStack
from genlab.nn.layers.boltzmann import FIRST_STEP, sample_units
from genlab.registry import MODELS


@MODELS("dbn")
class DBN(BoltzmannStack):
    """Each RBM of the stack trains for an equal fraction of the run."""

    monitor = None  # no quantity of a single layer measures the whole stack

    def phases(self) -> list[Phase]:
        """Greedy: layer k trains in its own window, on samples from the frozen layers below."""
        n = len(self.layers)
        start = Phase("start", self.init_bias, window=FIRST_STEP)
        return [start] + [
            Phase(
                f"layer{k + 1}",
                partial(self.layer_loss, k),
                layer,
                window=(k / n, (k + 1) / n),
                metrics=partial(self.layer_metrics, k),
            )
            for k, layer in enumerate(self.layers)
        ]

    def layer_loss(self, depth: int, image: Tensor) -> dict[str, Tensor]:
        """`loss`, whose gradient is the (P)CD update of layer `depth`."""
        layer = self.layer(depth)
        with torch.no_grad():
            v = self.visible(depth, image)
            x = layer.energy.hidden_input(v)
        return {"loss": layer.loss(v, x, self.cd_k)}

    def layer_metrics(self, depth: int, image: Tensor) -> dict[str, Tensor]:
        """`squared_error` of the reconstruction of layer `depth`."""
        v, energy = self.visible(depth, image), self.layer(depth).energy
        return {"squared_error": (energy.visible_mean(energy.hidden_mean(v)) - v).square().sum(1).mean()}

    def visible(self, depth: int, image: Tensor) -> Tensor:
        """Samples of the visible units of layer `depth`: the pixels, propagated up through the layers below."""
        v = self.data.units(image, sample=True)
        for below in range(depth):
            v = sample_units(self.layer(below).energy.hidden_mean(v))
        return v
