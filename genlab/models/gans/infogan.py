"""InfoGAN: a GAN whose images must reveal part of the code they were generated from.

A network Q, on top of the discriminator's hidden layers, predicts the latent codes c from the image. The generator is
rewarded for every c that Q recovers, and so gives each a meaning without any label: the kind of a digit, its slant.

Chen, Duan, Houthooft, Schulman, Sutskever & Abbeel, InfoGAN: Interpretable Representation Learning by Information
Maximizing Generative Adversarial Nets, NeurIPS 2016 (arXiv:1606.03657): equations below are theirs.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Gt, MinLen
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genlab.core import rng
from genlab.core.model import Phase, Shape
from genlab.models.gans.gan import GAN
from genlab.nn.layers.labels import one_hot
from genlab.nn.layers.stages import cut, shape_of
from genlab.registry import MODELS, NETWORKS, NetworkSpec, NonNegativeFloat, NonNegativeInt, PositiveInt

Categories = Annotated[list[Annotated[int, Gt(1)]], MinLen(1)]


@MODELS("infogan")
class InfoGAN(GAN):
    """The generator's input is [z, c]: `latent_dim` numbers of noise, one-hot categories, continuous codes."""

    incompatible: ClassVar = {
        "pack": "the images of a pack have different codes",
        "unroll": "Q is on top of the discriminator as it is",
        "consensus": "it differentiates the adversarial loss alone, without the information that G maximizes",
    }

    def __init__(
        self,
        image_shape: Shape,
        head: NetworkSpec,
        categories: Categories,
        continuous: NonNegativeInt = 2,
        categorical_weight: NonNegativeFloat = 1.0,
        continuous_weight: NonNegativeFloat = 0.1,
        latent_dim: PositiveInt = 62,
        prior: Literal["uniform", "normal"] = "uniform",
        **gan: Any,
    ) -> None:
        codes = LatentCodes(categories, continuous)
        super().__init__(image_shape, latent_dim=latent_dim + codes.size, prior=prior, **gan)
        self.latent_dim, self.codes, self.continuous = latent_dim, codes, continuous
        self.clusters = categories[0]  # the first category is what images are sorted by
        self.weights = {"categorical": categorical_weight, "continuous": continuous_weight}  # λ
        body, _ = cut(self.discriminator, "model.discriminator")
        features = math.prod(shape_of(body, image_shape))
        self.head = NETWORKS.build(head, "model.head", inp=features, out=codes.size)

    def shared_forward(self, image: Tensor, *conditions: Tensor) -> tuple[Tensor, ...]:
        """The real images and as many fakes, in the discriminator's range, and the codes c of the fakes."""
        code = self.prior(len(image))
        return self.to_input(image), self.fakes(code), code[:, self.latent_dim :]

    def phases(self) -> list[Phase]:
        """Equation 6: Q is trained with the generator, on the hidden layers that the discriminator learns."""
        *others, generator = super().phases()
        return [*others, replace(generator, module=nn.ModuleList([self.generator, self.head, self.codes]))]

    def generator_loss(self, real: Tensor, fake: Tensor, *conditions: Tensor) -> dict[str, Tensor]:
        """V(D, G) − λ L_I(G, Q), and L_I of each kind of code, in nats."""
        [code] = conditions
        on_fake, q = self.logits_and_codes(self.augmented(fake))
        bounds = self.codes.bounds(code, q)
        on_real = self.discriminator_logits(real) if self.gan_loss.relative else None
        adversarial = self.gan_loss.generator(on_fake, on_real)
        information = torch.stack([self.weights[kind] * bound for kind, bound in bounds.items()]).sum()
        logs = {f"{kind}_information": bound.detach() for kind, bound in bounds.items()}
        return {"loss": adversarial - information, "adversarial": adversarial.detach(), **logs}

    def logits_and_codes(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The logit of being real (N, 1) and Q's prediction of c (N, size), for images that were `augmented`."""
        body, last = cut(self.discriminator, "model.discriminator")
        features = body(images)
        return last(features), self.head(features.flatten(1))

    def discriminator_logits(self, images: Tensor, *conditions: Tensor) -> Tensor:
        return super().discriminator_logits(images)  # the discriminator does not see c

    def prior(self, n: int) -> Tensor:
        """n samples of [z, c]."""
        z = super().prior(n)
        return torch.cat([z, self.codes.sample(n, like=z)], 1)

    def cluster(self, image: Tensor) -> Tensor:
        """The value of the first category that Q considers most likely, (N,)."""
        return self.logits_and_codes(self.to_input(image))[1][:, : self.clusters].argmax(1)

    def traverse(self, code: Tensor, which: int, values: Tensor) -> Tensor:
        """[z, c] for each value of the first category in turn, with continuous code `which` at each of `values`.

        z and any further categories are those of `code` (1, D); the other continuous codes are 0.
        """
        codes = code.repeat(self.clusters * len(values), 1)
        categories = torch.arange(self.clusters, device=code.device).repeat_interleave(len(values))
        codes[:, self.latent_dim : self.latent_dim + self.clusters] = one_hot(categories, self.clusters)
        numbers = torch.zeros(len(values), self.continuous, device=code.device)
        numbers[:, which] = values
        codes[:, codes.shape[1] - self.continuous :] = numbers.repeat(self.clusters, 1)
        return codes


class LatentCodes(nn.Module):
    """Independent codes: a one-hot vector for each of `categories`, of that many equally likely values; then
    `continuous` numbers, each uniform in [-1, 1].

    Q(c|x) is a softmax for each category. For each number it is a Gaussian: its mean depends on the image, its learned
    scale does not.
    """

    def __init__(self, categories: list[int], continuous: int) -> None:
        super().__init__()
        self.categories, self.continuous = categories, continuous
        self.size = sum(categories) + continuous  # the length of c and of Q's prediction
        if continuous:  # the scale of the prior, which is right for a Q that knows nothing
            self.log_sigma = nn.Parameter(torch.full((continuous,), -0.5 * math.log(3)))

    def sample(self, n: int, like: Tensor) -> Tensor:
        """n codes c ~ P(c), (n, size)."""
        uniform = rng.uniform(n, len(self.categories) + self.continuous, like=like)
        values = [(uniform[:, i] * k).long().clamp(max=k - 1) for i, k in enumerate(self.categories)]
        hot = [one_hot(value, k) for value, k in zip(values, self.categories, strict=True)]
        return torch.cat([*hot, 2 * uniform[:, len(hot) :] - 1], 1)

    def bounds(self, code: Tensor, q: Tensor) -> dict[str, Tensor]:
        """L_I = E log Q(c|x) + H(c) (eq. 5), a lower bound of I(c; x), in nats, summed over the codes of each kind.

        `code` (N, size) as sampled, and Q's prediction for the images generated from it, (N, size): logits and means.
        """
        q, bounds = q.float(), {}
        if self.categories:
            kept = sum(self.categories)
            pairs = zip(code[:, :kept].split(self.categories, 1), q[:, :kept].split(self.categories, 1), strict=True)
            each = [math.log(c.shape[1]) - cross_entropy(logits, c) for c, logits in pairs]  # H(c) = log k
            bounds["categorical"] = torch.stack(each).sum()
        if self.continuous:
            error = (code - q)[:, -self.continuous :] * torch.exp(-self.log_sigma)
            log_q = -0.5 * error.square() - self.log_sigma - 0.5 * math.log(2 * math.pi)
            bounds["continuous"] = (math.log(2) + log_q).sum(1).mean()  # H(c) = log 2
        return bounds
