"""InfoGAN: a GAN that must let its codes be seen.

Part of what the generator starts from, c, has to be told from the image by a network Q, which shares the
discriminator's body. So the generator gives each code a meaning, found without any label: a digit's kind, its slant.

Chen, Duan, Houthooft, Schulman, Sutskever & Abbeel, InfoGAN: Interpretable Representation Learning by Information
Maximizing Generative Adversarial Nets, NeurIPS 2016 (arXiv:1606.03657).
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from genlab.losses.codes import LatentCodes
from genlab.model import Phase, Shape
from genlab.models.gan import GAN
from genlab.networks.stages import cut, features_of
from genlab.registry import MODELS, NETWORKS, NetworkSpec, NonNegativeFloat, NonNegativeInt, PositiveInt


@MODELS("infogan")
class InfoGAN(GAN):
    """A generator's input is [z, c]: `latent_dim` numbers of noise, then the codes, as one-hot and plain numbers."""

    def __init__(
        self,
        image_shape: Shape,
        generator: NetworkSpec,
        discriminator: NetworkSpec,
        head: NetworkSpec,
        latent_dim: PositiveInt = 62,
        categories: list[Annotated[int, Gt(1)]] = [10],  # noqa: B006 (read, never changed)
        continuous: NonNegativeInt = 2,
        categorical_weight: NonNegativeFloat = 1.0,
        continuous_weight: NonNegativeFloat = 0.1,
    ) -> None:
        ...
