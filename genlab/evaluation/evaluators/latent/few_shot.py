"""Whether a class can be recognized from a few examples, by the distances between codes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge
from numpy.typing import NDArray

from genlab.core.evaluator import Evaluator
from genlab.core.model import Model
from genlab.core.values import Value
from genlab.data.dataset import Split
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.latent.features import Kind, check_kind, features, labels
from genlab.evaluation.metrics.few_shot import hausdorff_distances, prototype_distances
from genlab.registry import EVALUATORS, PositiveInt

Distance = Literal["cosine", "euclidean", "modified_hausdorff"]
Indices = NDArray[np.int64]


@dataclass
class Episode:
    """Indices into a split: of the examples of each class (W, S), of the images to classify (Q,), and their classes."""

    examples: Indices
    queries: Indices
    classes: Indices


@EVALUATORS("few_shot")
@dataclass
class FewShot(Evaluator):
    """The error of the nearest class mean in episodes of `ways` new classes with `shots` examples each.

    Episodes are drawn from the classes of the split. A split that has a task of its own (Omniglot's twenty runs) is
    measured on it: `ways`, `shots`, `queries` and `episodes` are then those of the task. `modified_hausdorff` compares
    the strokes of images and needs no code.
    """

    ways: Annotated[int, Ge(2)] = 20
    shots: PositiveInt = 1
    queries: PositiveInt = 1
    episodes: PositiveInt = 400
    distance: Distance = "cosine"
    features: Kind = "code"
    batch_size: PositiveInt = 500

    notes = {"classifier": "the nearest mean of the examples of a class"}

    def applies(self, model: Model) -> bool:
        return self.distance == "modified_hausdorff" or check_kind(model, self.features)

    def check(self, model: Any, split: Split) -> None:
        classes = labels(split)
        if _task(split) is None:
            self.usable(classes, split)

    def usable(self, classes: Indices, split: Split) -> Indices:
        """The classes with enough images for an episode; ConfigError if there are fewer than `ways`."""
        names, counts = np.unique(classes, return_counts=True)
        found: Indices = names[counts >= self.shots + self.queries]
        if len(found) < self.ways:
            raise ConfigError(
                f"{len(found)} classes of the {split.name} split have {self.shots + self.queries} images or more",
                f"keys {self.key}.ways, {self.key}.shots, {self.key}.queries",
                f"use {self.key}.ways={max(2, len(found))}, or fewer shots and queries",
            )
        return found

    def run(self, model: Model, split: Split) -> Iterator[tuple[str, Value]]:
        classes = labels(split)
        task = _task(split)
        source = np.random.default_rng(int(torch.randint(2**31, ())))  # before the model may draw noise of its own
        episodes = task or list(self.draw(classes, split, source))
        self.found = {"task": "of the data set" if task else "drawn", "episodes": len(episodes)}
        if self.distance == "modified_hausdorff":
            images = (image.mean(1).cpu() for (image,) in split.batches(("image",), self.batch_size))
            known = torch.cat(list(images)).numpy()
        else:
            known = features(model, split, self.features, self.batch_size)
        errors = np.array([self.error(known, episode) for episode in episodes])
        yield "error", float(errors.mean())
        yield "error_se", float(errors.std(ddof=1) / np.sqrt(len(errors))) if len(errors) > 1 else 0.0
        yield "guessing", float(np.mean([1 - 1 / len(episode.examples) for episode in episodes]))

    def error(self, known: NDArray[Any], episode: Episode) -> float:
        """The fraction of an episode's images that are nearer to another class than to their own."""
        queries, examples = known[episode.queries], known[episode.examples]
        if self.distance == "modified_hausdorff":
            distances = hausdorff_distances(queries, examples)
        else:
            distances = prototype_distances(queries, examples, self.distance == "cosine")
        return float((distances.argmin(1) != episode.classes).mean())

    def draw(self, classes: Indices, split: Split, source: np.random.Generator) -> Iterator[Episode]:
        members = {each: np.flatnonzero(classes == each) for each in self.usable(classes, split).tolist()}
        for _ in range(self.episodes):
            chosen = source.choice(list(members), self.ways, replace=False).tolist()
            drawn = np.stack([source.choice(members[each], self.shots + self.queries, False) for each in chosen])
            yield Episode(
                drawn[:, : self.shots],
                drawn[:, self.shots :].flatten(),
                np.repeat(np.arange(self.ways), self.queries),
            )


def _task(split: Split) -> list[Episode] | None:
    """The episodes of a split's own task, from its column `episode`; None if it has none."""
    if "episode" not in split.table.names:
        return None
    run, role = split.take(len(split), ("episode",))[0].cpu().numpy().T
    if (run < 0).any():
        return None
    classes, found = labels(split), []
    for number in np.unique(run):
        examples, queries = (np.flatnonzero((run == number) & (role == each)) for each in (0, 1))
        names = classes[examples]  # one example of each class
        queries = queries[np.isin(classes[queries], names)]  # an unreadable example was left out
        place = {name: i for i, name in enumerate(names.tolist())}
        found.append(Episode(examples[:, None], queries, np.array([place[name] for name in classes[queries].tolist()])))
    return found
