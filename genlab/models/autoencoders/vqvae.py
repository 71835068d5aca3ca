"""Vector-quantized variational autoencoder (VQ-VAE) with a learned prior over its codes.

The encoder maps an image to a grid of vectors. Each is replaced by the nearest vector of a codebook, and the decoder
reconstructs the image from the result. Quantization has no gradient: the decoder's is copied to the encoder. Once
encoder, codebook and decoder are frozen, a PixelCNN learns the distribution of the code maps and samples new ones.

van den Oord, Vinyals & Kavukcuoglu, Neural Discrete Representation Learning, NeurIPS 2017 (arXiv:1711.00937): source of
the equations below. Prior: van den Oord et al., NeurIPS 2016 (arXiv:1606.05328).

q(k|x) is deterministic, hence log p(x) ≥ log p(x|k(x)) + log p(k(x)): the bound behind `score` and bits per dimension.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genlab.core import rng
from genlab.core.model import Model, Phase, Shape
from genlab.errors import ConfigError
from genlab.nn.layers.vector_quantizer import Codebook, perplexity
from genlab.nn.losses.likelihood import OutputDistribution, discretized_logistic_nll
from genlab.nn.losses.perceptual import PERCEPTUAL, FeatureDistance, PerceptualSpec
from genlab.nn.networks.pixelcnn import PixelCNN
from genlab.registry import (
    MODELS,
    NETWORKS,
    Fraction,
    NetworkSpec,
    NonNegativeFloat,
    OpenFraction,
    PositiveFloat,
    PositiveInt,
)

Decay = Annotated[float, Ge(0), Lt(1)]
Downsamples = Annotated[int, Gt(0), Lt(8)]
LOG_SCALES = (-7.0, 3.0)  # log scale of a logistic pixel: from far below one of the 256 levels to far above all of them


@MODELS("vqvae")
class VQVAE(Model):
    """The codes train in the first `1 - prior_fraction` of the run, the prior over them in the rest.

    With `prior` None, no prior is learned: all codes are equally likely, and samples are meaningless.
    """

    codebook: Codebook
    code_prior: PixelCNN | None

    monitor = "prior/loss"  # comparable between steps once the codes are frozen

    def __init__(
        self,
        image_shape: Shape,
        network: NetworkSpec,
        prior: NetworkSpec | None,
        num_downsamples: Downsamples = 2,
        num_embeddings: Annotated[int, Gt(1), Lt(2**20)] = 512,
        embedding_dim: PositiveInt = 64,
        codebook: Literal["ema", "gradient"] = "ema",
        decay: Decay = 0.95,
        dead_code_threshold: Fraction = 0.1,
        beta: NonNegativeFloat = 0.25,
        likelihood: Literal["logistic", "gaussian"] = "gaussian",
        sigma: PositiveFloat = 0.1,
        prior_fraction: OpenFraction = 0.5,
        perceptual: PerceptualSpec | None = None,
    ) -> None:
        super().__init__()
        channels, *sides = image_shape
        height, width = (_downsampled(side, num_downsamples, image_shape) for side in sides)
        self.num_embeddings, self.code_shape = num_embeddings, (embedding_dim, height, width)
        self.beta, self.dead_code_threshold = beta, dead_code_threshold
        self.discrete, self.prior_fraction = likelihood == "logistic", prior_fraction
        self.gaussian = None if self.discrete else OutputDistribution("gaussian", sigma)
        output = (2 * channels if self.discrete else channels, *image_shape[1:])  # a mean, and a log scale
        self.encoder = NETWORKS.build(network, "model.network", inp=image_shape, out=self.code_shape)
        self.codebook = Codebook(num_embeddings, embedding_dim, codebook == "ema", decay, dead_code_threshold)
        self.decoder = NETWORKS.build(network, "model.network", inp=self.code_shape, out=output)
        self.code_prior = _code_prior(prior, (num_embeddings, height, width))  # p(k)
        self.perceptual: FeatureDistance | None = None
        if perceptual:
            self.perceptual = PERCEPTUAL.build(perceptual, "model.perceptual", image_shape=image_shape)

    def shared_forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images, the encoder's output z_e(x), and the indices k of the nearest codes: eq. 1."""
        z = self.encoder(image).float()
        return image, z, self.codebook.nearest(z)

    def phases(self) -> list[Phase]:
        end = 1 - self.prior_fraction if self.code_prior else 1.0
        coder = nn.ModuleList([self.encoder, self.codebook, self.decoder])
        phases = [Phase("codes", self.quantize, coder, window=(0.0, end))]
        if self.codebook.ema or self.dead_code_threshold:
            phases.append(Phase("codebook", self.update_codebook, window=(0.0, end)))
        if self.code_prior:
            phases.append(Phase("prior", self.prior_loss, self.code_prior, window=(end, 1.0)))
        return phases

    def quantize(self, image: Tensor, z: Tensor, k: Tensor) -> dict[str, Tensor]:
        """Eq. 3: nats and squared distances, summed over positions; then the perceptual loss, if there is one.

        `elbo` assumes the uniform prior of section 3.1.
        """
        e = self.codebook(k)
        z_q = z + (e - z).detach()  # eq. 2, with the straight-through gradient
        output = self.decoder(z_q)
        reconstruction = self.nll(output, image).mean()  # −log p(x|z_q(x))
        commitment = _squared_norm(z - e.detach())  # ‖z_e(x) − sg[e]‖²
        loss = reconstruction + self.beta * commitment
        if not self.codebook.ema:
            loss = loss + _squared_norm(z.detach() - e)  # ‖sg[z_e(x)] − e‖²
        perceptual = {}
        if self.perceptual:
            perceptual["perceptual"] = self.perceptual(image, self.mean(output)).mean()
            loss = loss + self.perceptual.weight * perceptual["perceptual"]
        return {
            "loss": loss,
            "elbo": -(reconstruction.detach() + self.uniform_length(k)),
            "reconstruction": reconstruction,
            "commitment": commitment,
            "perplexity": perplexity(self.codebook.tally(k)),
            **perceptual,
        }

    def update_codebook(self, image: Tensor, z: Tensor, k: Tensor) -> dict[str, Tensor]:
        """Update the codebook's moving averages (appendix A.1) and replace dead codes; in training mode only."""
        if self.training:
            self.codebook.update(z, k)
        return {}

    def prior_loss(self, image: Tensor, z: Tensor, k: Tensor) -> dict[str, Tensor]:
        """−log p(k(x)): the code length of the map under the learned prior, in nats."""
        return {"loss": self.code_length(k).mean()}

    def uniform_length(self, k: Tensor) -> float:
        """KL(q(k|x) ‖ uniform), in nats: the code length of a map if all codes are equally likely."""
        return k[0].numel() * math.log(self.num_embeddings)

    def code_length(self, k: Tensor) -> Tensor:
        """−log p(k) of each map (N,), in nats."""
        if self.code_prior is None:
            return torch.full_like(k[:, 0, 0], self.uniform_length(k), dtype=torch.float32)
        return cross_entropy(self.code_prior(k), k, reduction="none").flatten(1).sum(1)

    def nll(self, output: Tensor, image: Tensor) -> Tensor:
        """−log p(x|z_q) of each image (N,), in nats, from the decoder's output."""
        if self.gaussian:
            return self.gaussian.nll(output, image)
        mean, log_scale = output.float().chunk(2, dim=1)
        return discretized_logistic_nll(mean, image, log_scale.clamp(*LOG_SCALES))

    def indices(self, image: Tensor) -> Tensor:
        """Images (N, C, H, W) to code indices, int64 (N, h, w), each in [0, `num_embeddings`)."""
        k: Tensor = self.shared_forward(image)[2]
        return k

    def encode(self, image: Tensor) -> Tensor:
        """The quantized vectors z_q(x), flattened to (N, D)."""
        return self.codebook(self.indices(image)).flatten(1)

    def decode(self, code: Tensor) -> Tensor:
        """The mean of p(x|z_q), (N, C, H, W) in [0, 1]. The code (N, D) is not rounded to the codebook."""
        return self.mean(self.decoder(code.unflatten(1, self.code_shape)))

    def mean(self, output: Tensor) -> Tensor:
        """The mean of p(x|z_q), (N, C, H, W) in [0, 1], from the decoder's output."""
        return self.gaussian.mean(output) if self.gaussian else output.float().chunk(2, dim=1)[0].clamp(0, 1)

    def reconstruct(self, image: Tensor) -> Tensor:
        return self.decode(self.encode(image))

    def sample(self, n: int) -> Tensor:
        """n images (n, C, H, W) in [0, 1], decoded from code maps that the prior samples."""
        return self.decode(self.codebook(self.sample_codes(n)).flatten(1))

    def sample_codes(self, n: int) -> Tensor:
        """n code maps (n, h, w) from the learned prior, or from the uniform one."""
        if self.code_prior:
            return self.code_prior.sample(n)
        u = rng.uniform(n, *self.code_shape[1:], like=self.codebook.vectors)
        return (u * self.num_embeddings).long().clamp(max=self.num_embeddings - 1)

    def score(self, image: Tensor) -> Tensor:
        """−log p(x|k(x)) − log p(k(x)) of each image (N,), in nats: an upper bound on −log p(x)."""
        reconstruction, code = self.bound(image)
        return reconstruction + code

    def bound(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The two terms of `score`, each (N,) in nats."""
        k = self.indices(image)
        return self.nll(self.decoder(self.codebook(k)), image), self.code_length(k)


def _code_prior(spec: NetworkSpec | None, symbols: Shape) -> PixelCNN | None:
    if spec is None:
        return None
    prior = NETWORKS.build(spec, "model.prior", inp=symbols, out=symbols)
    if not isinstance(prior, PixelCNN):
        message = f"network '{spec['name']}' cannot sample code maps"
        raise ConfigError(message, "key model.prior.name", "use model.prior.name=pixelcnn")
    return prior


def _squared_norm(difference: Tensor) -> Tensor:
    return difference.square().flatten(1).sum(1).mean()


def _downsampled(side: int, count: int, image: Shape) -> int:
    if side % 2**count or side < 2**count:
        size = max(round(side / 2**count), 1) * 2**count
        raise ConfigError(
            f"model 'vqvae' cannot halve {image[1]}x{image[2]} images {count} times",
            "key model.num_downsamples",
            f"use dataset.size={size} or fewer downsamples",
        )
    return side // 2**count
