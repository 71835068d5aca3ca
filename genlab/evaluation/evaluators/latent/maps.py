"""Maps of latent codes: in TensorBoard's projector, in the plane of a two-dimensional code, and by t-SNE."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Gt

from genlab.core.evaluator import Evaluator
from genlab.core.model import Encodes, Model
from genlab.core.values import Embedding, Value
from genlab.data.dataset import Split
from genlab.evaluation.latent import codes
from genlab.registry import EVALUATORS, NonNegativeInt, PositiveInt
from genlab.reports.scatter import scatter


@EVALUATORS("embedding")
@dataclass
class Codes(Evaluator):
    """The codes of n images of a split, the images as thumbnails, and their labels if the data set has any."""

    n: PositiveInt = 1000

    needs = (Encodes,)

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        if split.points:
            return  # without thumbnails; evaluator points shows them
        drawn = split.drawn(self.n)
        image, *conditions = drawn.take(self.n, ("image", *model.conditions))
        codes = model.encode(image, *conditions).flatten(1)
        yield "codes", Embedding(codes.float().cpu(), image.cpu(), drawn.classes())


@EVALUATORS("plane")
@dataclass
class Plane(Evaluator):
    """The codes of n images of a split as points, colored by class if the data set has classes.

    Makhzani et al. (2015), figure 2: the codes of an adversarial autoencoder fill their prior.
    """

    n: PositiveInt = 5000

    def applies(self, model: Model) -> bool:
        return isinstance(model, Encodes) and getattr(model, "latent_dim", 0) == 2 and not model.conditions

    def run(self, model: Model, split: Split) -> Iterator[tuple[str, Value]]:
        drawn = split.drawn(self.n)
        yield "plane", scatter(codes(model, drawn), drawn.classes())


@EVALUATORS("tsne")
@dataclass
class TSNEMap(Evaluator):
    """Codes of n images of a split; near codes stay near, while distances between groups mean little.

    `kl_divergence`, which t-SNE minimizes, in nats: how well the plane represents the neighborhoods of the codes.
    """

    n: Annotated[int, Gt(3)] = 2000
    perplexity: Annotated[float, Gt(1)] = 30.0
    seed: NonNegativeInt = 0

    notes = {"initial": "pca"}

    def applies(self, model: Model) -> bool:
        return isinstance(model, Encodes) and not model.conditions  # a label in the code would shape the map

    def run(self, model: Model, split: Split) -> Iterator[tuple[str, Value]]:
        from sklearn.manifold import TSNE

        drawn = split.drawn(self.n)
        code = codes(model, drawn)
        perplexity = min(self.perplexity, (len(code) - 1) / 3)  # t-SNE considers three times as many neighbors
        tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=self.seed)
        places = torch.from_numpy(tsne.fit_transform(code.numpy()))
        yield "map", scatter(places, drawn.classes())
        yield "kl_divergence", float(tsne.kl_divergence_)
