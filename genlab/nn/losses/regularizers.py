"""Regularizers of GAN training, each a small object under the name it has in YAML.

`regularizers: {r1: {weight: 10, every: 16}, instance_noise: {}}` lists those in use, each with the values that differ
from its defaults; null turns one off. A regularizer adds a term to the loss of the discriminator or the generator, adds
a phase, or changes the discriminator's input. `gan` and its subclasses take them, except those that a subclass lists as
`incompatible`; other adversarial models have the regularizers of their papers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, TypeVar

import torch
from annotated_types import Gt, Lt
from pydantic import BeforeValidator
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from genlab.core import rng
from genlab.core.model import Phase, Shape
from genlab.errors import ConfigError, nearest
from genlab.nn.losses.adversarial import GANLoss
from genlab.nn.losses.gradient_penalties import Penalty
from genlab.nn.losses.unrolled import Consensus, Unroll
from genlab.registry import REGULARIZERS, SELF, OpenFraction, PositiveFloat

T = TypeVar("T")


def _checked(specs: Any) -> Any:
    """ValueError unless `specs` maps names of regularizers to their values."""
    if isinstance(specs, str):
        _known(specs)
        raise ValueError(f"'{SELF}' holds regularizers by name; got '{specs}' alone; use {SELF}.{specs}={{}}")
    for name, values in specs.items() if isinstance(specs, Mapping) else ():
        _known(name)
        if not isinstance(values, Mapping | None):
            [first, *_] = REGULARIZERS.schema(name).model_fields
            got, key = json.dumps(values)[:40], f"{SELF}.{name}"
            raise ValueError(f"'{key}' takes its numbers by name; got {got}; use {key}.{first}=...")
        try:
            REGULARIZERS.check({"name": name, **(values or {})}, f"{SELF}.{name}")
        except ConfigError as error:
            raise ValueError(str(error)) from None
    return specs


def _known(name: str) -> None:
    if name not in REGULARIZERS:
        close = nearest(name, REGULARIZERS.names())
        raise ValueError(f"unknown regularizer '{name[:40]}'; key {SELF}.{name[:40]}; {close}")


# the annotation of a constructor's parameter that holds them
RegularizerSpecs = Annotated[dict[str, dict[str, Any] | None], BeforeValidator(_checked)]


class Regularizers:
    """The regularizers in use, by kind. `gan` below is a GAN of genlab/models/gans/gan.py."""

    def __init__(self, specs: Mapping[str, Mapping[str, Any] | None], key: str = "model.regularizers") -> None:
        used = {
            name: REGULARIZERS.build({"name": name, **values}, f"{key}.{name}")
            for name, values in specs.items()
            if values is not None
        }
        for name, each in used.items():
            if not isinstance(each, Penalty | InstanceNoise | Smoothing | Pack | Clip | Consensus | Unroll):
                raise ConfigError(
                    f"regularizer '{name}' ({type(each).__name__}) acts on nothing",
                    f"key {key}.{name}",
                    "derive it from the class of another one, such as genlab.nn.losses.gradient_penalties.Penalty",
                )
        self.used = used
        self.penalties: dict[str, Penalty] = {name: each for name, each in used.items() if isinstance(each, Penalty)}
        self.noise = _the(InstanceNoise, used)
        self.smoothing = _the(Smoothing, used)
        self.pack = _the(Pack, used)
        self.clip = _the(Clip, used)
        self.consensus = _the(Consensus, used)
        self.unroll = _the(Unroll, used)

    def packed(self, image_shape: Shape) -> Shape:
        """The shape of the discriminator's input: m times the channels in packs of m images."""
        channels, height, width = image_shape
        return channels * (self.pack.size if self.pack else 1), height, width

    def check(self, gan: Any) -> None:
        """ConfigError for regularizers that cannot work with this model."""
        for name, reason in gan.incompatible.items():
            if name in self.used:
                key = f"model.regularizers.{name}"
                raise ConfigError(
                    f"{type(gan).__name__} cannot use '{name}': {reason}", f"key {key}", f"use {key}=null"
                )
        # The layers of nn/layers/minibatch.py are allowed: Karras et al. 2018 combine deviation with this penalty. Its
        # norm is then that of the gradient of a group's summed scores.
        normed = any(isinstance(layer, _BatchNorm) for layer in gan.discriminator.modules())
        if normed and "gradient_penalty" in self.penalties:
            raise ConfigError(
                "with batch norm a score depends on the other images of the batch, so it has no gradient of its own",
                "key model.regularizers.gradient_penalty",
                "use model.discriminator.norm=none",
            )

    def phases(self, gan: Any, discriminator: Phase, generator: Phase) -> list[Phase]:
        """The two phases with their losses wrapped by the regularizers, and further phases between them."""
        between: list[Phase] = []
        for name, penalty in self.penalties.items():
            if penalty.every == 1:
                discriminator = wrapped(discriminator, partial(penalty.added, gan, name))
            else:
                between.append(Phase(name, partial(penalty.lazy, gan), gan.discriminator, every=penalty.every))
        if self.clip:
            between.append(Phase("clip", partial(self.clip.phase, gan), gathers=False))
        if self.unroll:
            generator = wrapped(generator, partial(self.unroll.unrolled, gan))
        if self.consensus:
            both = partial(self.consensus.added, gan)
            discriminator, generator = wrapped(discriminator, both), wrapped(generator, both)
        return [discriminator, *between, generator]


def _the(kind: type[T], used: Mapping[str, Any]) -> T | None:
    return next((each for each in used.values() if isinstance(each, kind)), None)


def wrapped(phase: Phase, around: Callable[..., dict[str, Tensor]]) -> Phase:
    """`phase`, whose loss becomes `around(loss, *shared)`."""
    return replace(phase, objective=partial(around, phase.objective))


@REGULARIZERS("instance_noise")
class InstanceNoise:
    """Gaussian noise on the discriminator's input; its standard deviation falls from `sigma` to 0 over the run.

    In the units of its images, [-1, 1]. Sønderby, Caballero, Theis, Shi & Huszár, Amortised MAP Inference for Image
    Super-resolution, ICLR 2017 (arXiv:1610.04490), section 3.3; Arjovsky & Bottou, ICLR 2017 (arXiv:1701.04862).
    """

    def __init__(self, sigma: PositiveFloat = 0.1, anneal: bool = True) -> None:
        self.sigma, self.anneal = sigma, anneal

    def __call__(self, images: Tensor, progress: Tensor) -> Tensor:
        sigma = self.sigma * (1 - progress) if self.anneal else self.sigma
        return images + sigma * rng.normal(*images.shape, like=images)


@REGULARIZERS("pack")
class Pack:
    """m images at once, as channels: a discriminator of packs notices when all of them are alike.

    Lin, Khetan, Fanti & Oh, PacGAN: The power of two samples in GANs, NeurIPS 2018 (arXiv:1712.04086).
    """

    def __init__(self, size: Annotated[int, Gt(1), Lt(65)] = 2) -> None:
        self.size = size

    def check(self, n: int) -> None:
        """ConfigError if n images do not fill whole packs."""
        if n % self.size:
            raise ConfigError(
                f"{n} images at a time cannot be packed by {self.size}",
                "keys trainer.batch_size and model.regularizers.pack.size",
                f"let each process (and part of trainer.grad_accum_steps) have a multiple of {self.size} images",
            )

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) to packs (⌈N / m⌉, mC, H, W) of m consecutive images; the first images fill the last."""
        n, channels, *sides = images.shape
        if missing := -n % self.size:  # only in evaluation: training refuses such batches
            images = torch.cat([images, images[torch.arange(missing, device=images.device) % n]])
        return images.reshape(-1, self.size * channels, *sides)


@REGULARIZERS("smoothing")
class Smoothing:
    """The discriminator's target for real images is 1 − `amount`: Salimans et al. 2016 (arXiv:1606.03498), 3.4."""

    def __init__(self, amount: OpenFraction = 0.1) -> None:
        self.amount = amount

    def smoothed(self, loss: GANLoss) -> GANLoss:
        """`loss` with the smoothed target; ConfigError if it has no target."""
        change = loss.smoothing
        if change is None:
            raise ConfigError(
                "this loss has no target for real images that could be smoothed",
                "keys model.loss, model.regularizers.smoothing",
                "use model.loss=non_saturating, minimax or least_squares",
            )
        return replace(
            loss, discriminator=lambda real, fake: loss.discriminator(real, fake) + change(real, self.amount)
        )


@REGULARIZERS("clip")
class Clip:
    """Each weight of the critic is kept within ±`bound`: Arjovsky, Chintala & Bottou, ICML 2017, algorithm 1."""

    def __init__(self, bound: PositiveFloat = 0.01) -> None:
        self.bound = bound

    @torch.no_grad()
    def __call__(self, module: nn.Module) -> dict[str, Tensor]:
        """Clip the weights of `module` in place; returns the fraction of them at the bound."""
        clipped = [(p.clamp_(-self.bound, self.bound).abs() == self.bound).sum() for p in module.parameters()]
        return {"fraction": torch.stack(clipped).sum() / sum(p.numel() for p in module.parameters())}

    def phase(self, gan: Any, *shared: Tensor) -> dict[str, Tensor]:
        return self(gan.discriminator) if gan.training else {}
