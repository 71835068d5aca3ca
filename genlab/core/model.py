"""The interface of a model: the phases of a training step, and the capabilities of the trained model.

A model file contains networks and losses, but no code for devices, precision, optimizers, ranks, logging or paths.
Every public method takes and returns images as float (N, C, H, W) in [0, 1].
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from genlab.core import rng
from genlab.errors import ConfigError

P = TypeVar("P")
Shape = tuple[int, int, int]  # channels, height, width
# what a log-likelihood is: the value itself, a lower bound of it (in expectation), or an estimate without a bound
LikelihoodKind = Literal["exact", "bound", "estimate"]
# what it is of: black and white pixels, 256 levels, 256 levels with uniform noise, or the density of points
LikelihoodOf = Literal["binary", "levels", "dequantized", "density"]


@dataclass(frozen=True)
class Phase:
    """One update within a training step, for example of a GAN's discriminator.

    `objective` receives the result of `Model.shared_forward` and returns scalars by name: `loss` is minimized, and all
    are logged. Gradient descent changes the parameters of `module`; if it is None, the objective itself makes an update
    without gradients. The phase runs at every `every`-th step, and only between the two fractions of training in
    `window`: greedy layer-wise training uses consecutive windows. Phases with the same `module` share one optimizer,
    configured by the first of them; a penalty applied at every 16th step is such a phase. With several ranks, an update
    without gradients receives the samples of all ranks, or with `gathers=False` those of its own rank.

    `metrics` are further scalars that only show progress, of the same inputs, before the update: they are computed
    without gradients, at steps that are logged and in validation. Only CUDA graphs and phases that do not run at every
    step compute them each time.
    """

    name: str
    objective: Callable[..., dict[str, Tensor]]
    module: nn.Module | None = None
    every: int = 1
    window: tuple[float, float] = (0.0, 1.0)
    gathers: bool = True
    metrics: Callable[..., dict[str, Tensor]] | None = None

    def values(self, *shared: Any) -> dict[str, Tensor]:
        """All that is logged for these inputs: the objective's scalars and the metrics."""
        return self.objective(*shared) | (self.metrics(*shared) if self.metrics else {})


class Model(nn.Module):
    """Base class of all models.

    If a loss changes over training (a β schedule), register a non-persistent buffer `progress`, torch.ones(()). Before
    each step the engine writes the fraction of training done into it, on the device, so that CUDA graphs read it too.
    In a loaded model it is 1. If samples depend on it too (growing networks), make it persistent: a model loaded from a
    checkpoint is then as far as it was.
    """

    # the data columns that `shared_forward` receives
    inputs: tuple[str, ...] = ("image",)
    # the data columns that encode(), reconstruct() and score() receive after the image
    conditions: ClassVar[tuple[str, ...]] = ()
    # the options required to train on points of any range; {}: none are required; None: data must be images
    points: ClassVar[Mapping[str, Any] | None] = None
    # whether the images of columns a and b must be pairs that show the same thing
    partners: ClassVar[bool] = False
    # the validation figure that ranks checkpoints and runs, smaller is better: one of the objective, or "quick_fid",
    # the FID of a few samples; None if no number does
    monitor: str | None = "loss"

    def shared_forward(self, *columns: Any, **named: Any) -> tuple[Tensor, ...]:
        """The inputs of all objectives, computed once per step with gradients (a GAN's fakes); by default the batch.

        At most one phase may backpropagate through the result; the others must detach it.
        """
        return columns

    def check_batch(self, n: int) -> None:
        """Raise ConfigError if the losses cannot be computed for n samples, the batch size of `shared_forward`."""
        if n == 1 and any(type(module) is nn.BatchNorm1d for module in self.modules()):  # synchronized ones see more
            raise ConfigError("batch norm cannot normalize a single vector", "a batch has 1 image",
                              "use a larger trainer.batch_size, or a smaller trainer.grad_accum_steps")  # fmt: skip

    # Any: a subclass names its columns, loss(self, image) or loss(self, image, label)
    def loss(self, *columns: Any, **named: Any) -> dict[str, Tensor]:
        """The objective of a model with one phase: scalars in nats, summed over pixels, averaged over the batch."""
        name, module = type(self).__name__, type(self).__module__
        raise ConfigError(f"model {name} defines neither loss() nor phases()", f"module {module}", "define one of them")

    def phases(self) -> list[Phase]:
        return [Phase("model", self.loss, self)]

    def normal(self, n: int, *shape: int) -> Tensor:
        """Standard normal float32 (n, *shape) on the model's device."""
        return rng.normal(n, *shape, like=next(itertools.chain(self.parameters(), self.buffers())))


@runtime_checkable
class Samples(Protocol):
    def sample(self, n: int) -> Tensor:
        """n images (n, C, H, W) in [0, 1] from the model's distribution."""


@runtime_checkable
class HasPath(Samples, Protocol):
    """A sample is the end of a path from noise to data; the options of `sample` are those of `path`."""

    network: nn.Module  # called at the steps of the path

    def path(self, n: int) -> Iterator[Tensor]:
        """The states (n, C, H, W) of n samples, noise first, in the model's own range."""

    def to_image(self, state: Tensor) -> Tensor:
        """A state as images in [0, 1]; points stay as they are."""


@runtime_checkable
class HasVelocity(HasPath, Protocol):
    """Its paths are the solutions of dx/dt = v(x, t), with noise at t = 0 and data at t = 1."""

    def velocity(self, x: Tensor, t: float) -> Tensor:
        """v at states (N, C, H, W) of its paths, all at the time t; of all classes in turn if it has classes."""


@runtime_checkable
class Reconstructs(Protocol):
    def reconstruct(self, image: Tensor, *conditions: Tensor) -> Tensor:
        """Reconstructions of images (N, C, H, W) in [0, 1], with the same shape and range."""


@runtime_checkable
class Denoises(Protocol):
    """A model of clean images that is told how noisy an image is."""

    def denoise(self, image: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        """The mean of the clean images, and one of them at random, given noisy ones, all (N, C, H, W) in [0, 1].

        `sigma` is the standard deviation of the Gaussian noise, which was added before values were clipped to [0, 1].
        """


@runtime_checkable
class Inpaints(Protocol):
    """A model of images that is told which pixels are unknown."""

    def inpaint(self, image: Tensor, mask: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] with pixels filled in where `mask`, (N, 1, H, W), is true; others stay."""


@runtime_checkable
class Encodes(Protocol):
    def encode(self, image: Tensor, *conditions: Tensor) -> Tensor:
        """Codes (N, D) of images (N, C, H, W) in [0, 1]. They include the conditions that `decode` needs."""


@runtime_checkable
class Decodes(Protocol):
    def decode(self, code: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] of codes (N, D)."""


@runtime_checkable
class HasPrior(Protocol):
    def prior(self, n: int) -> Tensor:
        """n codes (n, D) from the distribution from which the model generates."""


@runtime_checkable
class MixesStyles(Protocol):
    """A generator with one style vector per layer, as StyleGAN's w."""

    def styles(self, code: Tensor, truncation: float = 1.0) -> Tensor:
        """Styles (N, L, D') of codes (N, D), coarse layers first; `truncation` scales their distance from the mean."""

    def render(self, styles: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] of styles (N, L, D'); all images have the same noise."""


@runtime_checkable
class HasPosterior(Protocol):
    def posterior(self, image: Tensor, *conditions: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the Gaussian over codes z, each (N, D), whose prior is standard normal."""


@runtime_checkable
class ImportanceSampled(Protocol):
    def observe(self, image: Tensor) -> Tensor:
        """The tensor x whose likelihood is evaluated: pixels binarized at random, or the images in [0, 1] unchanged."""

    def log_weights(self, x: Tensor, samples: int, *conditions: Tensor) -> Tensor:
        """log w, (N, samples), in nats: independent weights w with E[w] = p(x); `x` is a result of `observe`."""


@runtime_checkable
class HasLogLikelihood(Protocol):
    """A model that computes log p(x) itself, up to dequantization: genlab/nn/losses/dequantization.py."""

    likelihood_kind: LikelihoodKind
    likelihood_of: LikelihoodOf

    def observe(self, image: Tensor) -> Tensor:
        """The tensor x whose likelihood is evaluated, from images in [0, 1]: pixels binarized, dequantized, ..."""

    def log_likelihood(self, x: Tensor, *conditions: Tensor) -> Tensor:
        """log p(x), (N,) in nats, of a result of `observe`; if dequantized, one of 256 levels has the volume 1."""


@runtime_checkable
class Translates(Protocol):
    def translate(self, image: Tensor) -> Tensor:
        """Images of domain `a`, (N, C, H, W) in [0, 1], translated to domain `b`."""


@runtime_checkable
class TranslatesBack(Protocol):
    def translate_back(self, image: Tensor) -> Tensor:
        """Images of domain `b`, (N, C, H, W) in [0, 1], translated to domain `a`."""


@runtime_checkable
class Scores(Protocol):
    def score(self, image: Tensor, *conditions: Tensor) -> Tensor:
        """Anomaly scores (N,) of images (N, C, H, W) in [0, 1]; larger is more anomalous."""


@runtime_checkable
class HasFilters(Protocol):
    def filters(self) -> Tensor:
        """Learned filters as images (K, C, H, W), any range."""


@runtime_checkable
class HasCodebook(Protocol):
    num_embeddings: int  # vectors in the codebook
    dead_code_threshold: float  # a vector used less often than this fraction of the average is replaced; 0: never

    def indices(self, image: Tensor) -> Tensor:
        """Codebook indices of images (N, C, H, W) in [0, 1]: int64 (N, ...) in [0, num_embeddings)."""


@runtime_checkable
class Clusterer(Protocol):
    clusters: int  # number of categories, found without labels

    def cluster(self, image: Tensor) -> Tensor:
        """Categories of images (N, C, H, W) in [0, 1]: int64 (N,) in [0, clusters)."""


@runtime_checkable
class TraversesCodes(HasPrior, Decodes, Protocol):
    continuous: int  # number of continuous code dimensions that training made interpretable

    def traverse(self, code: Tensor, which: int, values: Tensor) -> Tensor:
        """Variants (categories * K, D) of `code` (1, D): dimension `which` is each of `values` (K,), the others 0."""


@runtime_checkable
class BitsPerDim(Protocol):
    discrete: bool  # whether p(x|code) is a probability of 256 levels per value, not a density

    def bound(self, image: Tensor, *conditions: Tensor) -> tuple[Tensor, Tensor]:
        """−log p(x|code) and the code's length, each (N,) in nats; their sum is an upper bound of −log p(x)."""


CAPABILITIES: list[type] = [
    Samples,
    HasPath,
    HasVelocity,
    Reconstructs,
    Denoises,
    Inpaints,
    Encodes,
    Decodes,
    HasPrior,
    MixesStyles,
    HasPosterior,
    ImportanceSampled,
    HasLogLikelihood,
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
    """Decorator that adds a capability declared elsewhere, next to the types it uses (genlab/nn)."""
    CAPABILITIES.append(protocol)
    return protocol


def generator_every(model: Model) -> int:
    """The generator is updated once in this many steps; 1 if the model has no generator.

    A generator with several phases has names such as generator_8 for them.
    """
    return max((phase.every for phase in model.phases() if phase.name.partition("_")[0] == "generator"), default=1)


def capabilities(model: Model) -> list[str]:
    """The names of a model's capabilities, for `genlab info` and error messages."""
    return [capability.__name__ for capability in CAPABILITIES if isinstance(model, capability)]
