"""A map of codes in the plane, by t-SNE (van der Maaten & Hinton 2008), coloured by class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import torch
from annotated_types import Gt

from genlab.core.model import Encodes, Model
from genlab.core.values import Value
from genlab.evaluation.latent import codes
from genlab.registry import EVALUATORS, Duration, NonNegativeInt
from genlab.reports.scatter import scatter

if TYPE_CHECKING:
    from genlab.data.dataset import Split


@EVALUATORS("tsne")
class TSNEMap:
    """Codes of a split's first n images, so placed that near ones stay near; distances between groups mean little.

    `kl_divergence` is what t-SNE minimises, in nats. Beside the map it shows how well the plane can hold the codes.
    """

    split: str | None = "valid"

    def __init__(
        self,
        n: Annotated[int, Gt(3)] = 2000,
        perplexity: Annotated[float, Gt(1)] = 30.0,
        seed: NonNegativeInt = 0,
        every: Duration | None = None,
    ) -> None:
        self.n, self.perplexity, self.seed, self.every = n, perplexity, seed, every

    def applies(self, model: Model) -> bool:
        return isinstance(model, Encodes) and not model.conditions  # a label in the code would draw the map

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        from sklearn.manifold import TSNE

        assert split is not None
        code = codes(model, split, self.n)
        perplexity = min(self.perplexity, (len(code) - 1) / 3)  # t-SNE looks at three times as many neighbours
        tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=self.seed)
        places = torch.from_numpy(tsne.fit_transform(code.numpy()))
        classes = split.classes()
        yield "map", scatter(places, None if classes is None else classes[: len(code)])
        yield "kl_divergence", float(tsne.kl_divergence_)

    def protocol(self) -> dict[str, Any]:
        return {"images": self.n, "perplexity": self.perplexity, "initial": "pca", "tsne_seed": self.seed}
