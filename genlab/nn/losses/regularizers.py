"""What makes a GAN's game converge: one small object for each remedy, by the name that YAML gives it.

`regularizers: {r1: {weight: 10, every: 16}, instance_noise: {}}` names those in use, each with the numbers that are not
its defaults; null switches one off. `gan` and what is built on it take them (`cgan`, `acgan` and `infogan` but for
those that do not go with labels or codes, and say so); other adversarial families have their paper's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import torch
from annotated_types import Gt, Lt
from pydantic import BeforeValidator
from torch import Tensor, nn

from genlab.core import rng
from genlab.errors import ConfigError, nearest
from genlab.nn.losses.gradients import Critic, gradient_norm, logits_and_gradient, squared_gradient, squared_norms
from genlab.registry import SELF, NonNegativeFloat, PositiveFloat, PositiveInt, Registry

REGULARIZERS = Registry("regularizer")
T = TypeVar("T")
Share = Annotated[float, Gt(0), Lt(1)]


def _checked(specs: Any) -> Any:
    """ValueError for what does not say, name by name, which regularizers are meant and what their numbers are."""
    if isinstance(specs, str):
        _known(specs)
        raise ValueError(f"'{SELF}' holds regularizers by name; got '{specs}' alone; use {SELF}.{specs}={{}}")
    for name, numbers in specs.items() if isinstance(specs, Mapping) else ():
        _known(name)
        if not isinstance(numbers, Mapping | None):
            [first, *_] = REGULARIZERS.schema(name).model_fields
            given, key = json.dumps(numbers)[:40], f"{SELF}.{name}"
            raise ValueError(f"'{key}' takes its numbers by name; got {given}; use {key}.{first}=...")
        try:
            REGULARIZERS.check({"name": name, **(numbers or {})}, f"{SELF}.{name}")
        except ConfigError as error:
            raise ValueError(str(error)) from None
    return specs


def _known(name: str) -> None:
    if name not in REGULARIZERS:
        close = nearest(name, REGULARIZERS.names())
        raise ValueError(f"unknown regularizer '{name[:40]}'; key {SELF}.{name[:40]}; {close}")


# the annotation of a constructor's parameter that holds them
RegularizerSpecs = Annotated[dict[str, dict[str, Any] | None], BeforeValidator(_checked)]


def chosen(specs: Mapping[str, Mapping[str, Any] | None], where: str = "model.regularizers") -> Regularizers:
    """The regularizers that `specs` names."""
    return Regularizers(
        {
            name: REGULARIZERS.build({"name": name, **numbers}, f"{where}.{name}")
            for name, numbers in specs.items()
            if numbers is not None
        }
    )


class Regularizers:
    """Those in use, by kind."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self.penalties: dict[str, Penalty] = {key: each for key, each in named.items() if isinstance(each, Penalty)}
        self.noise = _the(InstanceNoise, named)
        self.smoothing = _the(Smoothing, named)
        self.pack = _the(Pack, named)
        self.clip = _the(Clip, named)
        self.consensus = _the(Consensus, named)
        self.unroll = _the(Unroll, named)


def _the(kind: type[T], named: Mapping[str, Any]) -> T | None:
    return next((each for each in named.values() if isinstance(each, kind)), None)


# ---------------------------------------------------------------------- what the discriminator is charged for


@dataclass(frozen=True)
class Play:
    """What a penalty looks at: the discriminator's logits as a function, and a step's images as that takes them."""

    critic: Critic
    real: Tensor
    fake: Tensor  # without a history
    progress: Tensor  # share of training done


class Penalty:
    """A term of the discriminator's loss, `weight` times what a call gives, computed in float32.

    With `every` n it is a move of its own at each n-th step, n times as heavy: Karras et al., Analyzing and Improving
    the Image Quality of StyleGAN, CVPR 2020 (arXiv:1912.04958), section 3.1. On a CPU it is most of a step's time.
    """

    def __init__(self, weight: NonNegativeFloat = 10.0, every: PositiveInt = 1) -> None:
        self.weight, self.every = weight, every

    def __call__(self, play: Play) -> Tensor:
        raise NotImplementedError


@REGULARIZERS("r1")
class R1(Penalty):
    """½E ‖∇D(x)‖² at real images; `weight` is γ. Mescheder, Geiger & Nowozin, ICML 2018 (arXiv:1801.04406), eq. 9."""

    def __call__(self, play: Play) -> Tensor:
        return 0.5 * squared_gradient(play.critic, play.real).mean()


@REGULARIZERS("r2")
class R2(Penalty):
    """½E ‖∇D(G(z))‖² at the generator's images: equation 10 there."""

    def __call__(self, play: Play) -> Tensor:
        return 0.5 * squared_gradient(play.critic, play.fake).mean()


@REGULARIZERS("roth")
class Roth(Penalty):
    """½E (1 − φ(x))² ‖∇ψ(x)‖² + ½E φ(G(z))² ‖∇ψ(G(z))‖², φ the probability of logit ψ; γ falls to `decay` of itself.

    Roth, Lucchi, Nowozin & Hofmann, Stabilizing Training of GANs through Regularization, NeurIPS 2017
    (arXiv:1705.09367), eq. 20 to 22: what noise on the images would do on average, for the Jensen-Shannon divergence.
    """

    def __init__(self, weight: NonNegativeFloat = 2.0, every: PositiveInt = 1, decay: Share = 0.01) -> None:
        super().__init__(weight, every)
        self.decay = decay

    def __call__(self, play: Play) -> Tensor:
        on_real, at_real = logits_and_gradient(play.critic, play.real)
        on_fake, at_fake = logits_and_gradient(play.critic, play.fake)
        unsure = on_real.flatten().neg().sigmoid().square() * squared_norms(on_real, at_real)
        fooled = on_fake.flatten().sigmoid().square() * squared_norms(on_fake, at_fake)
        return 0.5 * self.decay**play.progress * (unsure.mean() + fooled.mean())


@REGULARIZERS("gradient_penalty")
class GradientPenalty(Penalty):
    """E (‖∇D(x̂)‖ − 1)², x̂ anywhere between a real image and a fake one; `weight` is λ.

    Gulrajani, Ahmed, Arjovsky, Dumoulin & Courville, Improved Training of Wasserstein GANs, NeurIPS 2017
    (arXiv:1704.00028), eq. 3.
    """

    def __call__(self, play: Play) -> Tensor:
        return (gradient_norm(play.critic, between(play.real, play.fake)) - 1).square().mean()


def between(real: Tensor, fake: Tensor) -> Tensor:
    """εx + (1 − ε)x̃ (N, ...), ε uniform in [0, 1), one for each pair."""
    share = rng.uniform(len(real), *[1] * (real.ndim - 1), like=real)
    return torch.lerp(fake.float(), real.float(), share)


# ---------------------------------------------------------------------- what the discriminator sees


@REGULARIZERS("instance_noise")
class InstanceNoise:
    """Gaussian noise on all that the discriminator sees, its deviation falling from `sigma` to 0 over the run.

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
    """m images at once, as channels: a discriminator of packs sees that all are alike.

    Lin, Khetan, Fanti & Oh, PacGAN: The power of two samples in GANs, NeurIPS 2018 (arXiv:1712.04086).
    """

    def __init__(self, size: Annotated[int, Gt(1), Lt(65)] = 2) -> None:
        self.size = size

    def check(self, rows: int) -> None:
        """ConfigError for so many rows a step, if they leave a pack to be filled with rows of another."""
        if rows % self.size:
            raise ConfigError(
                f"{rows} images at a time cannot be packed by {self.size}",
                "keys trainer.batch_size and model.regularizers.pack.size",
                f"let each process (and part of trainer.accumulate) have a multiple of {self.size} images",
            )

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) to (⌈N / m⌉, mC, H, W), each of m consecutive rows; the last is filled from the first."""
        rows, channels, *sides = images.shape
        if missing := -rows % self.size:  # in evaluation alone: training refuses such batches
            images = torch.cat([images, images[torch.arange(missing, device=images.device) % rows]])
        return images.reshape(-1, self.size * channels, *sides)


# ---------------------------------------------------------------------- how the players move


@REGULARIZERS("smoothing")
class Smoothing:
    """The discriminator's target for real images is 1 − `amount`: Salimans et al. 2016 (arXiv:1606.03498), 3.4."""

    def __init__(self, amount: Share = 0.1) -> None:
        self.amount = amount


@REGULARIZERS("clip")
class Clip:
    """Each weight of the critic is kept within ±`bound`: Arjovsky, Chintala & Bottou, ICML 2017, algorithm 1."""

    def __init__(self, bound: PositiveFloat = 0.01) -> None:
        self.bound = bound

    @torch.no_grad()
    def __call__(self, module: nn.Module) -> dict[str, Tensor]:
        """Move the weights; the share of them that stands at the bound."""
        held = torch.stack([(p.clamp_(-self.bound, self.bound).abs() == self.bound).sum() for p in module.parameters()])
        return {"share": held.sum() / sum(p.numel() for p in module.parameters())}


@REGULARIZERS("consensus")
class Consensus:
    """Both players also descend γ·½‖v‖², v the gradients of each loss in that player's own weights; `weight` is γ.

    Mescheder, Nowozin & Geiger, The Numerics of GANs, NeurIPS 2017 (arXiv:1705.10461), eq. 13.
    """

    def __init__(self, weight: PositiveFloat = 10.0) -> None:
        self.weight = weight


@REGULARIZERS("unroll")
class Unroll:
    """The generator plays against what `steps` gradient steps of size `rate` would make of the discriminator.

    Metz, Poole, Pfau & Sohl-Dickstein, Unrolled Generative Adversarial Networks, ICLR 2017 (arXiv:1611.02163), eq. 7
    to 9. The steps are plain gradient descent, where the authors unroll Adam: a `rate` above 2 over the sharpest
    curvature of the discriminator's loss runs away.
    """

    def __init__(self, steps: PositiveInt = 5, rate: PositiveFloat = 1e-3) -> None:
        self.steps, self.rate = steps, rate
