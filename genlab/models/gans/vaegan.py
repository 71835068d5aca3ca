"""Autoencoding beyond pixels: a VAE whose decoder is a GAN's generator.

An image and its reconstruction are compared by the discriminator's features, not by pixels: an edge that moves by a
pixel costs little, a blur much. The discriminator itself is trained with the adversarial loss alone. A perceptual loss
adds the features of a frozen network to the comparison.

Larsen, Sønderby, Larochelle & Winther, Autoencoding beyond pixels using a learned similarity metric, ICML 2016
(arXiv:1512.09300): equations and algorithm 1 below are theirs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.model import Model, Phase, Shape
from genlab.nn.layers.stages import cut
from genlab.nn.losses.adversarial import GAN_LOSSES, Logits
from genlab.nn.losses.divergences import kl_standard_normal
from genlab.nn.losses.perceptual import PERCEPTUAL, FeatureDistance, PerceptualSpec
from genlab.registry import MODELS, NETWORKS, NetworkSpec, NonNegativeFloat, PositiveInt

GAN_LOSS = GAN_LOSSES["non_saturating"]


@MODELS("vaegan")
class VAEGAN(Model):
    """`encoder` is q(z|x), `decoder` generates images; all three networks see images in [-1, 1], the range of tanh.

    Dis_l are the discriminator's features after its first `feature_stage` convolutions, counted from the image.
    """

    monitor = "quick_fid"  # the metric that compares images is itself learned

    def __init__(
        self,
        image_shape: Shape,
        encoder: NetworkSpec,
        decoder: NetworkSpec,
        discriminator: NetworkSpec,
        latent_dim: PositiveInt = 128,
        gamma: NonNegativeFloat = 1e-2,
        beta: NonNegativeFloat = 1.0,
        feature_stage: PositiveInt = 3,
        perceptual: PerceptualSpec | None = None,
    ) -> None:
        super().__init__()
        self.latent_dim, self.gamma, self.beta, self.feature_stage = latent_dim, gamma, beta, feature_stage
        self.encoder = NETWORKS.build(encoder, "model.encoder", inp=image_shape, out=2 * latent_dim)
        self.decoder = NETWORKS.build(decoder, "model.decoder", inp=latent_dim, out=image_shape)
        self.discriminator = NETWORKS.build(discriminator, "model.discriminator", inp=image_shape, out=1)
        cut(self.discriminator, "model.discriminator")  # ConfigError for a network without such features
        self.perceptual: FeatureDistance | None = None
        if perceptual:
            self.perceptual = PERCEPTUAL.build(perceptual, "model.perceptual", image_shape=image_shape)

    def shared_forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """x, the mean and log variance of q(z|x), and x̃, the image of a sample z from it."""
        mean, log_variance = self.posterior(image)
        return 2 * image - 1, mean, log_variance, self.generate(self.sampled(mean, log_variance))

    def phases(self) -> list[Phase]:
        """Algorithm 1: each network minimizes its own part of L_prior + L_llike + L_GAN."""
        return [
            Phase("discriminator", self.discriminator_loss, self.discriminator),
            Phase("encoder", self.encoder_loss, self.encoder),
            Phase("decoder", self.decoder_loss, self.decoder),
        ]

    def discriminator_loss(self, x: Tensor, mean: Tensor, log_variance: Tensor, rebuilt: Tensor) -> dict[str, Tensor]:
        """θ_Dis: −L_GAN, whose fakes are reconstructions and samples from the prior (section 2.4).

        Algorithm 1 adds both kinds up; here each counts half, so that real and generated images have equal weight.
        """
        on_real, on_rebuilt, on_fake = self.all_logits(x, rebuilt.detach())
        loss = (GAN_LOSS.discriminator(on_real, on_rebuilt) + GAN_LOSS.discriminator(on_real, on_fake)) / 2
        logits = {"real": on_real, "rebuilt": on_rebuilt, "fake": on_fake}
        probabilities = {f"{name}_probability": each.detach().float().sigmoid().mean() for name, each in logits.items()}
        return {"loss": loss, **probabilities}

    def all_logits(self, x: Tensor, rebuilt: Tensor) -> tuple[Tensor, ...]:
        """The logits of real images, of reconstructions and of as many samples from the prior."""
        with torch.no_grad():
            x_p = self.generate(self.prior(len(x)))
        return tuple(self.features_and_logit(each)[1] for each in (x, rebuilt, x_p))

    def real_and_fake_logits(self, x: Tensor, mean: Tensor, log_variance: Tensor, rebuilt: Tensor) -> dict[str, Logits]:
        on_real, *on_fakes = self.all_logits(x, rebuilt)
        return {"": Logits(GAN_LOSS, on_real, torch.cat(on_fakes))}

    def encoder_loss(self, x: Tensor, mean: Tensor, log_variance: Tensor, rebuilt: Tensor) -> dict[str, Tensor]:
        """θ_Enc: L_prior + L_llike, in nats without the constant of the Gaussian."""
        kl = kl_standard_normal(mean, log_variance).mean()  # eq. 3
        likelihood, logged = self.likelihood_loss(x, rebuilt, self.features(x), self.features(rebuilt))
        return {"loss": self.beta * kl + likelihood, "kl": kl, **logged}

    def decoder_loss(self, x: Tensor, mean: Tensor, log_variance: Tensor, rebuilt: Tensor) -> dict[str, Tensor]:
        """θ_Dec: γ·L_llike − L_GAN, non-saturating; reconstructions and prior samples each count half."""
        # a new one: that of `shared_forward` sends its gradient to the encoder
        rebuilt = self.generate(self.sampled(mean.detach(), log_variance.detach()))
        features, on_rebuilt = self.features_and_logit(rebuilt)
        likelihood, _ = self.likelihood_loss(x, rebuilt, self.features(x), features)
        on_fake = self.features_and_logit(self.generate(self.prior(len(x))))[1]
        adversarial = (GAN_LOSS.generator(on_rebuilt, None) + GAN_LOSS.generator(on_fake, None)) / 2
        return {"loss": self.gamma * likelihood + adversarial, "adversarial": adversarial}

    def likelihood_loss(
        self, x: Tensor, rebuilt: Tensor, real_features: Tensor, rebuilt_features: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """L_llike (eq. 8, one sample), with the perceptual loss if there is one; and its terms by name."""
        nll = feature_nll(real_features, rebuilt_features).mean()
        if self.perceptual is None:
            return nll, {"feature_nll": nll}
        perceptual = self.perceptual((x + 1) / 2, (rebuilt + 1) / 2).mean()
        return nll + self.perceptual.weight * perceptual, {"feature_nll": nll, "perceptual": perceptual}

    def features(self, x: Tensor) -> Tensor:
        """Dis_l(x) of images in [-1, 1]; later layers are not computed, so their running statistics do not change."""
        first, _ = cut(self.discriminator, "model.discriminator", self.feature_stage)
        return first(x)

    def features_and_logit(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Dis_l(x), and the logit of being real (N, 1), of images in [-1, 1]."""
        first, rest = cut(self.discriminator, "model.discriminator", self.feature_stage)
        features = first(x)
        return features, rest(features)

    def posterior(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ² of q(z|x), each (N, latent_dim)."""
        mean, log_variance = self.encoder(2 * image - 1).float().chunk(2, dim=1)
        return mean, log_variance

    @staticmethod
    def sampled(mean: Tensor, log_variance: Tensor) -> Tensor:
        """z = μ + σ⊙ε, (N, latent_dim)."""
        return mean + torch.exp(0.5 * log_variance) * rng.normal(*mean.shape, like=mean)

    def generate(self, z: Tensor) -> Tensor:
        """Dec(z), in [-1, 1]."""
        image: Tensor = self.decoder(z).tanh()
        return image

    def prior(self, n: int) -> Tensor:
        return self.normal(n, self.latent_dim)

    def sample(self, n: int) -> Tensor:
        return self.decode(self.prior(n))

    def encode(self, image: Tensor) -> Tensor:
        """The code of the mean μ(x)."""
        return self.posterior(image)[0]

    def decode(self, code: Tensor) -> Tensor:
        return (self.generate(code).float() + 1) / 2

    def reconstruct(self, image: Tensor) -> Tensor:
        return self.decode(self.encode(image))


def feature_nll(real: Tensor, rebuilt: Tensor) -> Tensor:
    """½‖Dis_l(x) − Dis_l(x̃)‖², (N,): −log N(Dis_l(x); Dis_l(x̃), I) without its constant (eq. 7), summed in float32."""
    return 0.5 * (real.float() - rebuilt.float()).square().flatten(1).sum(1)
