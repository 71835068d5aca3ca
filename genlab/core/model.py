"""What a model is to the rest of genlab: its phases, and what it can do once trained.

A model file knows its networks and its losses, and nothing of devices, precision, optimisers, ranks, logging or
paths. Images are float in [0, 1] with shape (N, C, H, W) at every public boundary.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from genlab.core import rng

P = TypeVar("P")
Shape = tuple[int, int, int]  # channels, height, width


@dataclass(frozen=True)
class Phase:
    """One player's move in a training step.

    `objective` takes what `Model.shared_forward` returned and gives scalars: `loss` is minimised, others are logged.
    `module` is what descends; None means an update without gradients that the objective makes itself.
    `every` moves this player only each that many steps; `window` is the share of training in which it moves at
    all (greedy layer-wise training is consecutive windows). Phases of one and the same `module` share an optimiser,
    whose settings are those of the first: a penalty that is due every 16th step is such a phase. An update without
    gradients is made from the rows of all ranks; one that does not look at them says so by `gathers` False.
    """

    name: str
    objective: Callable[..., dict[str, Tensor]]
    module: nn.Module | None = None
    every: int = 1
    window: tuple[float, float] = (0.0, 1.0)
    gathers: bool = True


class Model(nn.Module):
    """Base of every family. `inputs` names the data columns that `shared_forward` and the objectives take.

    A model whose losses change over training (a β schedule) registers a buffer `progress`, torch.ones(()), not
    persistent: the engine writes the share of training done there before each step, on the device, so that a recorded
    step follows it too. Of a trained model it is 1.
    """

    inputs: tuple[str, ...] = ("image",)
    # the data columns that encode(), reconstruct() and score() take after the image
    conditions: ClassVar[tuple[str, ...]] = ()
    # the options with which data may be points of any range, {}: with any; None: they must be pictures
    points: ClassVar[Mapping[str, Any] | None] = None
    # whether the pictures a and b of a row must be partners: of the same thing
    partners: ClassVar[bool] = False
    # the validation quantity that tells a better run from a worse one, smaller is better; None: there is none
    monitor: str | None = "loss"

    def shared_forward(self, *columns: Any, **named: Any) -> tuple[Tensor, ...]:
        """Once a step, with gradients: what the phases share (a GAN's fakes). By default the batch itself.

        One phase at most may send gradients through what this returns; the others take it detached.
        """
        return columns

    def check_batch(self, n: int) -> None:
        """ConfigError if the losses cannot take n samples, the size of the batches that `shared_forward` gets."""

    # Any: a family names the columns it takes, loss(self, image) or loss(self, image, label)
    def loss(self, *columns: Any, **named: Any) -> dict[str, Tensor]:
        """The objective of a one-player model: scalars in nats, summed over pixels, averaged over the batch."""
        raise NotImplementedError(f"{type(self).__name__} defines neither loss() nor phases()")

    def phases(self) -> list[Phase]:
        return [Phase("model", self.loss, self)]

    def normal(self, rows: int, *shape: int) -> Tensor:
        """Standard normal numbers where this model lives."""
        return rng.normal(rows, *shape, like=next(itertools.chain(self.parameters(), self.buffers())))


@runtime_checkable
class Samples(Protocol):
    def sample(self, n: int) -> Tensor:
        """n images (n, C, H, W) in [0, 1] from the model's distribution."""


@runtime_checkable
class Reconstructs(Protocol):
    def reconstruct(self, image: Tensor, *conditions: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to their reconstructions, same shape and range."""


@runtime_checkable
class Encodes(Protocol):
    def encode(self, image: Tensor, *conditions: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to codes (N, D), from which `decode` needs nothing more."""


@runtime_checkable
class Decodes(Protocol):
    def decode(self, code: Tensor) -> Tensor:
        """Codes (N, D) to images (N, C, H, W) in [0, 1]."""


@runtime_checkable
class HasPrior(Protocol):
    def prior(self, n: int) -> Tensor:
        """n codes (n, D) from the distribution that generation starts from."""


@runtime_checkable
class MixesStyles(Protocol):
    """A generator that is told in each layer what to draw: StyleGAN's w."""

    def styles(self, code: Tensor, truncation: float = 1.0) -> Tensor:
        """Codes (N, D) to styles (N, L, D'), coarse layers first; drawn to their mean by a truncation below 1."""

    def render(self, styles: Tensor) -> Tensor:
        """Styles (N, L, D') to images (N, C, H, W) in [0, 1], without noise of their own."""


@runtime_checkable
class HasPosterior(Protocol):
    def posterior(self, image: Tensor, *conditions: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the Gaussian over codes z, each (N, D), whose prior is standard normal."""


@runtime_checkable
class ImportanceSampled(Protocol):
    def observe(self, image: Tensor) -> Tensor:
        """What the law p(x) is of, drawn from images in [0, 1] (binarised pixels), or the images themselves."""

    def log_weights(self, x: Tensor, samples: int, *conditions: Tensor) -> Tensor:
        """Logarithms (N, samples), in nats, of independent numbers whose mean is p(x); `x` as from `observe`."""


@runtime_checkable
class Translates(Protocol):
    def translate(self, image: Tensor) -> Tensor:
        """Images of column `a`'s kind (N, C, H, W) to those of `b`'s, in [0, 1]."""


@runtime_checkable
class TranslatesBack(Protocol):
    def translate_back(self, image: Tensor) -> Tensor:
        """Images of column `b`'s kind (N, C, H, W) to those of `a`'s, in [0, 1]."""


@runtime_checkable
class Scores(Protocol):
    def score(self, image: Tensor, *conditions: Tensor) -> Tensor:
        """Anomaly score (N,), larger is stranger."""


@runtime_checkable
class HasFilters(Protocol):
    def filters(self) -> Tensor:
        """Learned filters as images (K, C, H, W), any range."""


@runtime_checkable
class HasCodebook(Protocol):
    num_embeddings: int  # vectors in the codebook
    dead_code_threshold: float  # codes used less than this fraction of uniform use are replaced; 0: never

    def indices(self, image: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to code indices, int64 (N, ...), each in [0, num_embeddings)."""


@runtime_checkable
class Clusterer(Protocol):
    clusters: int  # categories that the model has found for itself

    def cluster(self, image: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to their categories, int64 (N,), each in [0, clusters)."""


@runtime_checkable
class TraversesCodes(HasPrior, Decodes, Protocol):
    continuous: int  # numbers of a code that are meant to have a meaning

    def traverse(self, code: Tensor, which: int, values: Tensor) -> Tensor:
        """Code (1, D) with number `which` at each of `values` (K,), the others at 0: K codes a category, in turn."""


@runtime_checkable
class BitsPerDim(Protocol):
    discrete: bool  # whether the law of an image is one of 256 levels a number, not a density

    def bound(self, image: Tensor, *conditions: Tensor) -> tuple[Tensor, Tensor]:
        """−log p(x|code) and the code's cost, each (N,) in nats: their sum is no less than −log p(x)."""


CAPABILITIES: list[type] = [
    Samples,
    Reconstructs,
    Encodes,
    Decodes,
    HasPrior,
    MixesStyles,
    HasPosterior,
    ImportanceSampled,
    Translates,
    TranslatesBack,
    Scores,
    HasFilters,
    HasCodebook,
    Clusterer,
    TraversesCodes,
    BitsPerDim,
]


def capability(protocol: type[P]) -> type[P]:
    """Decorator: a capability that is declared elsewhere, beside the types that it speaks of (genlab/nn/losses)."""
    CAPABILITIES.append(protocol)
    return protocol


def generator_every(model: Model) -> int:
    """In how many steps the generator moves once; 1 of a model that has none."""
    return max((phase.every for phase in model.phases() if phase.name == "generator"), default=1)


def capabilities(model: Model) -> list[str]:
    """The names of what a model can do, for `genlab info` and error messages."""
    return [capability.__name__ for capability in CAPABILITIES if isinstance(model, capability)]
