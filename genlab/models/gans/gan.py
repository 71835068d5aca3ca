"""Generative adversarial network.

A generator turns noise z into images; a discriminator tells them from real ones. Each learns against the
other, the discriminator to tell better, the generator to be told apart less, until the images follow the law
of the data.

Goodfellow et al., Generative Adversarial Nets, NeurIPS 2014 (arXiv:1406.2661). With convolutional networks
(DCGAN): Radford, Metz & Chintala, ICLR 2016 (arXiv:1511.06434). What else may be changed about the game, each from its
own paper: genlab/nn/losses/adversarial.py and genlab/nn/losses/regularizers.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from genlab.core import rng
from genlab.core.model import Model, Phase, Shape
from genlab.errors import ConfigError
from genlab.nn.losses import regularizers as regularizing
from genlab.nn.losses.adversarial import GAN_LOSSES, GANLossName, Logits
from genlab.nn.losses.regularizers import Penalty, Play, RegularizerSpecs
from genlab.nn.losses.unrolled import field_energy, unrolled, with_weights
from genlab.registry import AUGMENTATIONS, MODELS, NETWORKS, AugmentationSpec, NetworkSpec, PositiveInt


@MODELS("gan")
class GAN(Model):
    """The discriminator sees images in tanh's range, [-1, 1]; everything outside this model is in [0, 1].

    With `output` linear, data are points of any range, and both players see them as they are. A family that gives its
    networks more than images and codes (labels) lets `shared_forward` return it after the fakes; every method passes
    it on as `given`.
    """

    points: ClassVar = {"output": "linear"}
    packs = True  # whether the discriminator can judge several images at once, and answer for none of them alone
    monitor = None  # neither player's loss says which of two runs has the better images
    progress: Tensor

    def __init__(
        self,
        image_shape: Shape,
        generator: NetworkSpec,
        discriminator: NetworkSpec,
        latent_dim: PositiveInt = 100,
        prior: Literal["uniform", "normal"] = "normal",
        loss: GANLossName = "non_saturating",
        output: Literal["tanh", "linear"] = "tanh",
        critic_steps: PositiveInt = 1,
        augment: AugmentationSpec | None = None,
        regularizers: RegularizerSpecs | None = None,
    ) -> None:
        super().__init__()
        self.latent_dim, self.prior_name, self.output, self.critic_steps = latent_dim, prior, output, critic_steps
        self.gan_loss, self.regularizers = GAN_LOSSES[loss], regularizing.chosen(regularizers or {})
        channels, height, width = image_shape
        packed = (channels * (self.regularizers.pack.size if self.regularizers.pack else 1), height, width)
        self.generator = self.build_generator(generator, image_shape)
        self.discriminator = self.build_discriminator(discriminator, packed)
        self.augment = AUGMENTATIONS.build(augment, "model.augment", image_shape=image_shape) if augment else None
        self.register_buffer("progress", torch.ones(()), persistent=False)
        self.check(loss)

    def build_generator(self, spec: dict[str, Any], image_shape: Shape) -> nn.Module:
        network: nn.Module = NETWORKS.build(spec, "model.generator", inp=self.latent_dim, out=image_shape)
        return network

    def build_discriminator(self, spec: dict[str, Any], image_shape: Shape) -> nn.Module:
        """A network for images as it sees them, which have m times the channels in packs of m."""
        network: nn.Module = NETWORKS.build(spec, "model.discriminator", inp=image_shape, out=1)
        return network

    def check(self, loss: str) -> None:
        """ConfigError for remedies that mean nothing in this game."""
        if self.regularizers.pack and not self.packs:
            raise ConfigError(
                "a pack of images has no one label or code",
                "key model.regularizers.pack",
                "use model.regularizers.pack=null",
            )
        if self.regularizers.smoothing and self.gan_loss.smoothing is None:
            raise ConfigError(
                f"the loss '{loss}' has no target for real images to make smoother",
                "key model.regularizers.smoothing",
                "use model.loss=non_saturating, minimax or least_squares",
            )
        # Not so the layers of nn/layers/minibatch.py: Karras et al. 2018 have deviation beside this penalty. Its norm
        # is then of the gradient of the scores of a group, summed.
        normed = any(isinstance(layer, _BatchNorm) for layer in self.discriminator.modules())
        if normed and "gradient_penalty" in self.regularizers.penalties:
            raise ConfigError(
                "with batch norm a score depends on the batch's other images, and has no gradient norm of its own",
                "key model.regularizers.gradient_penalty",
                "use model.discriminator.norm=none",
            )

    def check_batch(self, rows: int) -> None:
        if self.regularizers.pack:
            self.regularizers.pack.check(rows)

    # ------------------------------------------------------------------ what a step draws, and the players' moves

    def shared_forward(self, image: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        """The step's real images and as many fakes, as the discriminator takes them: one generator pass for both."""
        return self.to_input(image), self.fakes(self.prior(len(image)), *given), *given

    def phases(self) -> list[Phase]:
        """Algorithm 1: the discriminator moves `critic_steps` times (k), the generator against what it has become."""
        lazy = [
            Phase(name, partial(self.lazy_penalty, penalty), self.discriminator, every=penalty.every)
            for name, penalty in self.regularizers.penalties.items()
            if penalty.every > 1
        ]
        return [
            Phase("discriminator", self.discriminator_loss, self.discriminator),
            *lazy,
            *([Phase("clip", self.clip, gathers=False)] if self.regularizers.clip else []),
            Phase("generator", self.generator_loss, self.generator, every=self.critic_steps),
        ]

    def discriminator_loss(self, real: Tensor, fake: Tensor, *given: Tensor) -> dict[str, Tensor]:
        """The discriminator's loss, and how real it takes each kind to be: a probability, or its mean score."""
        # two passes: each kind is normalised by its own batch's statistics, as the DCGAN authors do
        on_real, on_fake = self.discriminator_logits(real, *given), self.discriminator_logits(fake.detach(), *given)
        return self.regularized(on_real, on_fake, real, fake, *given)

    def regularized(
        self, on_real: Tensor, on_fake: Tensor, real: Tensor, fake: Tensor, *given: Tensor
    ) -> dict[str, Tensor]:
        """What the discriminator's logits of a step's images cost it, with the penalties, and how real each kind is."""
        loss = self.discriminator_gan_loss(on_real, on_fake)
        said = self.discriminator_logs(on_real, on_fake)
        if self.augment:
            self.augment.observe(on_real, len(real))
            said |= self.augment.said()
        for name, penalty in self.regularizers.penalties.items():
            if penalty.every == 1:
                regularized = penalty(self.play(real, fake, *given))
                loss, said[name] = loss + penalty.weight * regularized, regularized.detach()
        return {"loss": loss + self.consensus_term(real, *given), **said}

    def generator_loss(self, real: Tensor, fake: Tensor, *given: Tensor) -> dict[str, Tensor]:
        """The generator's loss, against the discriminator as it is, or as it would be a few steps on."""
        if ahead := self.regularizers.unroll:
            play = partial(self.inner_loss, real, fake, *given)
            weights = unrolled(self.discriminator, play, ahead.steps, ahead.rate, self.training)
            loss = with_weights(self.discriminator, weights, self.loss_ahead, real, fake, *given)
        else:
            loss = self.generator_gan_loss(real, fake, *given)
        return {"loss": loss + self.consensus_term(real, *given)}

    def lazy_penalty(self, penalty: Penalty, real: Tensor, fake: Tensor, *given: Tensor) -> dict[str, Tensor]:
        """A penalty that is due each `every` steps, as heavy as if it had been due at each."""
        value = penalty(self.play(real, fake, *given))
        return {"loss": penalty.every * penalty.weight * value, "value": value.detach()}

    def clip(self, *drawn: Tensor) -> dict[str, Tensor]:
        """The share of the critic's weights at the bound, after they were moved there."""
        assert self.regularizers.clip
        return self.regularizers.clip(self.discriminator) if self.training else {}

    # ------------------------------------------------------------------ their losses

    def discriminator_gan_loss(self, on_real: Tensor, on_fake: Tensor) -> Tensor:
        loss = self.gan_loss.discriminator(on_real, on_fake)
        if self.regularizers.smoothing and self.gan_loss.smoothing:
            loss = loss + self.gan_loss.smoothing(on_real, self.regularizers.smoothing.amount)
        return loss

    def generator_gan_loss(self, real: Tensor, fake: Tensor, *given: Tensor) -> Tensor:
        on_fake = self.discriminator_logits(fake, *given)
        return self.gan_loss.generator(
            self.discriminator_logits(real, *given) if self.gan_loss.relative else on_fake, on_fake
        )

    def loss_ahead(self, real: Tensor, fake: Tensor, *given: Tensor) -> Tensor:
        """The generator's loss by an unrolled discriminator, which its fakes have moved (Metz et al. 2017, eq. 8).

        By moving it they also decide how well it knows the real images: it knows those best that have no fakes beside
        them, so it is here that a mode left out is paid for.
        """
        loss = self.generator_gan_loss(real, fake, *given)
        return (
            loss if self.gan_loss.real is None else loss - self.gan_loss.real(self.discriminator_logits(real, *given))
        )

    def inner_loss(self, real: Tensor, fake: Tensor, *given: Tensor) -> Tensor:
        """The discriminator's loss of the game, without penalties, as a function of both players' weights."""
        return self.discriminator_gan_loss(
            self.discriminator_logits(real.float(), *given), self.discriminator_logits(fake.float(), *given)
        )

    def consensus_term(self, real: Tensor, *given: Tensor) -> Tensor | float:
        """γ·½‖v‖² of consensus optimisation, for fakes of its own: 0 without it."""
        consensus = self.regularizers.consensus
        if consensus is None:
            return 0.0
        code = self.prior(len(real))

        def losses() -> tuple[Tensor, Tensor]:
            fake = self.fakes(code, *given)
            return self.inner_loss(real, fake, *given), self.generator_gan_loss(real.float(), fake, *given)

        return consensus.weight * field_energy(self, losses, (self.discriminator, self.generator))

    def discriminator_logs(self, on_real: Tensor, on_fake: Tensor) -> dict[str, Tensor]:
        kinds = {"real": on_real.detach().float(), "fake": on_fake.detach().float()}
        if self.gan_loss.probability:
            return {f"{kind}_probability": logit.sigmoid().mean() for kind, logit in kinds.items()}
        return {f"{kind}_score": logit.mean() for kind, logit in kinds.items()}

    # ------------------------------------------------------------------ the two networks

    def discriminator_logits(self, images: Tensor, *given: Tensor) -> Tensor:
        """The discriminator's logits (N, 1), of packs (⌈N / m⌉, 1), for images in [-1, 1]."""
        logits: Tensor = self.discriminator(self.augmented(images), *given)
        return logits

    def real_and_fake_logits(self, real: Tensor, fake: Tensor, *given: Tensor) -> dict[str, Logits]:
        return {
            "": Logits(self.gan_loss, self.discriminator_logits(real, *given), self.discriminator_logits(fake, *given))
        }

    def augmented(self, images: Tensor) -> Tensor:
        """Images in [-1, 1] as they come before the discriminator's first layer: with noise, augmented and packed."""
        if self.regularizers.noise:
            images = self.regularizers.noise(images, self.progress)
        if self.augment:
            images = self.augment(images)
        return self.regularizers.pack(images) if self.regularizers.pack else images

    def play(self, real: Tensor, fake: Tensor, *given: Tensor) -> Play:
        critic: Callable[[Tensor], Tensor] = lambda images: self.discriminator_logits(images, *given)  # noqa: E731
        return Play(critic, real, fake.detach(), self.progress)

    def fakes(self, code: Tensor, *given: Tensor) -> Tensor:
        """Codes (N, D) to images as the discriminator takes them."""
        made = self.generator(code, *given)
        return made.tanh() if self.output == "tanh" else made

    def to_input(self, image: Tensor) -> Tensor:
        """Images in [0, 1] as the discriminator takes them."""
        return 2 * image - 1 if self.output == "tanh" else image

    def prior(self, n: int) -> Tensor:
        """n codes: standard normal, or uniform in [-1, 1) as in the DCGAN paper."""
        if self.prior_name == "normal":
            return self.normal(n, self.latent_dim)
        return 2 * rng.uniform(n, self.latent_dim, like=next(self.parameters())) - 1

    def sample(self, n: int) -> Tensor:
        return self.decode(self.prior(n))

    def decode(self, code: Tensor, *given: Tensor) -> Tensor:
        """Codes (N, D) to images in [0, 1]; with `output` linear, to points."""
        made = self.generator(code, *given).float()
        return (made.tanh() + 1) / 2 if self.output == "tanh" else made
