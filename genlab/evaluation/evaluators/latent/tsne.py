"""A map of codes in the plane, by t-SNE (van der Maaten & Hinton 2008), colored by class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Gt

from genlab.core.evaluator import Evaluator
from genlab.core.model import Encodes, Model
from genlab.core.values import Value
from genlab.evaluation.latent import codes
from genlab.registry import EVALUATORS, Duration, NonNegativeInt
from genlab.reports.scatter import scatter

if TYPE_CHECKING:
    from genlab.data.dataset import Split


@EVALUATORS("tsne")
@dataclass
class TSNEMap(Evaluator):
    """Codes of a split's first n images; near codes stay near, while distances between groups mean little.

    `kl_divergence`, which t-SNE minimizes, in nats: how well the plane represents the neighborhoods of the codes.
    """

    n: Annotated[int, Gt(3)] = 2000
    perplexity: Annotated[float, Gt(1)] = 30.0
    seed: NonNegativeInt = 0
    every: Duration | None = None

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
