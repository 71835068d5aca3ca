"""Generative adversarial network.

A generator turns noise z into images; a discriminator tells them from real ones. Each learns against the
other, the discriminator to tell better, the generator to be told apart less, until the images follow the law
of the data.

Goodfellow et al., Generative Adversarial Nets, NeurIPS 2014 (arXiv:1406.2661). With convolutional networks
(DCGAN): Radford, Metz & Chintala, ICLR 2016 (arXiv:1511.06434).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from genlab import noise
from genlab.losses.adversarial import GAMES, GameName
from genlab.model import Model, Phase, Shape
from genlab.registry import AUGMENTATIONS, MODELS, NETWORKS, AugmentationSpec, NetworkSpec, PositiveInt


@MODELS("gan")
class GAN(Model):
    """The discriminator sees images in tanh's range, [-1, 1]; everything outside this model is in [0, 1].

    With `output` linear, data are points of any range, and both players see them as they are.
    """

    monitor = None  # neither player's loss says which of two runs has the better images

    def __init__(
        self,
        image_shape: Shape,
        generator: NetworkSpec,
        discriminator: NetworkSpec,
        latent_dim: PositiveInt = 100,
        prior: Literal["uniform", "normal"] = "normal",
        loss: GameName = "non_saturating",
        output: Literal["tanh", "linear"] = "tanh",
        critic_steps: PositiveInt = 1,
        augment: AugmentationSpec | None = None,
    ) -> None:
        super().__init__()
        self.latent_dim, self.law, self.output, self.critic_steps = latent_dim, prior, output, critic_steps
        self.game = GAMES[loss]
        self.generator = NETWORKS.build(generator, "model.generator", inp=latent_dim, out=image_shape)
        self.discriminator = NETWORKS.build(discriminator, "model.discriminator", inp=image_shape, out=1)
        self.augment = AUGMENTATIONS.build(augment, "model.augment", image_shape=image_shape) if augment else None

    def draw(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The step's real images and as many fakes, as the discriminator sees them: one generator pass for both."""
        return self.seen(image), self.fakes(self.prior(len(image)))

    def phases(self) -> list[Phase]:
        """Algorithm 1: the discriminator moves `critic_steps` times (k), the generator against what it has become."""
        return [
            Phase("discriminator", self.discriminate, self.discriminator),
            Phase("generator", self.generate, self.generator, every=self.critic_steps),
        ]

    def discriminate(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The discriminator's loss, and how real it takes each kind to be: a probability, or its mean score."""
        # two passes: each kind is normalised by its own batch's statistics, as the DCGAN authors do
        on_real, on_fake = self.judge(real), self.judge(fake.detach())
        if self.augment:
            self.augment.observe(on_real)
        return {"loss": self.game.discriminator(on_real, on_fake), **self.opinions(on_real, on_fake)}

    def opinions(self, on_real: Tensor, on_fake: Tensor) -> dict[str, Tensor]:
        kinds = {"real": on_real.detach().float(), "fake": on_fake.detach().float()}
        if self.game.probability:
            return {f"{kind}_probability": logit.sigmoid().mean() for kind, logit in kinds.items()}
        return {f"{kind}_score": logit.mean() for kind, logit in kinds.items()}

    def generate(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        on_fake = self.judge(fake)
        return {"loss": self.game.generator(self.judge(real) if self.game.relative else on_fake, on_fake)}

    def judge(self, seen: Tensor) -> Tensor:
        """The discriminator's logits (N, 1) of images as it sees them."""
        return self.discriminator(self.augment(seen) if self.augment else seen)

    def fakes(self, code: Tensor) -> Tensor:
        """Codes (N, D) to images as the discriminator sees them."""
        made = self.generator(code)
        return made.tanh() if self.output == "tanh" else made

    def seen(self, image: Tensor) -> Tensor:
        """Images in [0, 1] as the discriminator sees them."""
        return 2 * image - 1 if self.output == "tanh" else image

    def prior(self, n: int) -> Tensor:
        """n codes: standard normal, or uniform in [-1, 1) as in the DCGAN paper."""
        if self.law == "normal":
            return self.normal(n, self.latent_dim)
        return 2 * noise.uniform(n, self.latent_dim, like=next(self.parameters())) - 1

    def sample(self, n: int) -> Tensor:
        return self.decode(self.prior(n))

    def decode(self, code: Tensor) -> Tensor:
        """Codes (N, D) to images in [0, 1]; with `output` linear, to points."""
        made = self.generator(code).float()
        return (made.tanh() + 1) / 2 if self.output == "tanh" else made
