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
    """The codes of a split's first n images, the images as thumbnails, and their labels if the data set has any."""

    n: PositiveInt = 1000

    needs = (Encodes,)

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        if split.points:
            return  # without thumbnails; evaluator points shows them
        n = min(self.n, len(split))
        image, *conditions = split.first(n, ("image", *model.conditions))
        codes = model.encode(image, *conditions).flatten(1)
        classes = split.classes()
        yield "codes", Embedding(codes.float().cpu(), image.cpu(), None if classes is None else classes[:n])


@EVALUATORS("plane")
@dataclass
class Plane(Evaluator):
    """The codes of a split's first n images as points, colored by class if the data set has classes.

    Makhzani et al. (2015), figure 2: the codes of an adversarial autoencoder fill their prior.
    """

    n: PositiveInt = 5000

    def applies(self, model: Model) -> bool:
        return isinstance(model, Encodes) and getattr(model, "latent_dim", 0) == 2 and not model.conditions

    def run(self, model: Model, split: Split) -> Iterator[tuple[str, Value]]:
        points, classes = codes(model, split, self.n), split.classes()
        yield "plane", scatter(points, None if classes is None else classes[: len(points)].cpu())


@EVALUATORS("tsne")
@dataclass
class TSNEMap(Evaluator):
    """Codes of a split's first n images; near codes stay near, while distances between groups mean little.

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

        code = codes(model, split, self.n)
        perplexity = min(self.perplexity, (len(code) - 1) / 3)  # t-SNE considers three times as many neighbors
        tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=self.seed)
        places = torch.from_numpy(tsne.fit_transform(code.numpy()))
        classes = split.classes()
        yield "map", scatter(places, None if classes is None else classes[: len(code)])
        yield "kl_divergence", float(tsne.kl_divergence_)
