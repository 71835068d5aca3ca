"""Conditional variational autoencoder.

A VAE both of whose networks are told the image's label y: q(z|x, y) and p(x|z, y). The code need not say what the
label says, and the decoder draws images of the class that it is asked for.

Sohn, Lee & Yan, Learning Structured Output Representation using Deep Conditional Generative Models, NeurIPS 2015;
Kingma, Rezende, Mohamed & Welling, Semi-Supervised Learning with Deep Generative Models, NeurIPS 2014
(arXiv:1406.5298), M2 with every label known.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.model import Shape
from genlab.models.autoencoders.vae import VAE
from genlab.nn.layers.labels import in_turn, needed, one_hot
from genlab.nn.losses.beta import BetaSpec
from genlab.nn.losses.output_distribution import Likelihood, Sigma
from genlab.registry import MODELS, NETWORKS, ClassLabel, NetworkSpec, NonNegativeFloat, PositiveInt


@MODELS("cvae")
class CVAE(VAE):
    """The label joins the image as one more channel, a learned plane for each class, so that any network can read it;
    it joins z as one-hot numbers. A code is [z, one-hot label]. An image has one class: of several attributes the law
    would have to be learned too."""

    inputs = ("image", "label")
    conditions = ("label",)

    def __init__(
        self,
        image_shape: Shape,
        num_classes: int | None,
        network: NetworkSpec,
        decoder: NetworkSpec | None = None,
        latent_dim: PositiveInt = 20,
        likelihood: Likelihood = "bernoulli",
        sigma: Sigma = "learned",
        binarize: bool = False,
        beta: NonNegativeFloat = 1.0,
        beta_schedule: BetaSpec = "constant",
    ) -> None:
        num_classes = needed(num_classes, "cvae")
        super().__init__(image_shape, network, decoder, latent_dim, likelihood, sigma, binarize, beta, beta_schedule)
        channels, height, width = image_shape
        self.num_classes = num_classes
        self.plane = nn.Sequential(nn.Linear(num_classes, height * width), nn.Unflatten(1, (1, height, width)))
        seen, read = (channels + 1, height, width), latent_dim + num_classes  # the VAE's networks, that much wider
        self.encoder = NETWORKS.build(network, "model.network", inp=seen, out=2 * latent_dim)
        self.decoder = NETWORKS.build(decoder or network, "model.decoder", inp=read, out=image_shape)

    def posterior(self, image: Tensor, *conditions: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ² of q(z|x, y)."""
        (label,) = conditions
        return super().posterior(torch.cat([image, self.plane(one_hot(label, self.num_classes)).to(image.dtype)], 1))

    def code(self, z: Tensor, *conditions: Tensor) -> Tensor:
        (label,) = conditions
        return torch.cat([z, one_hot(label, self.num_classes)], 1)

    def prior(self, n: int) -> Tensor:
        """n codes of classes that are equally likely."""
        z = super().prior(n)
        return self.code(z, (rng.uniform(n, like=z) * self.num_classes).long())

    def sample(self, n: int, label: ClassLabel = None) -> Tensor:
        """n images of class `label` (0 to num_classes − 1), or of all classes in turn."""
        z = super().prior(n)
        return self.decode(self.code(z, in_turn(n, self.num_classes, label, like=z)))
