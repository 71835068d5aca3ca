"""Vector-quantised variational autoencoder, with a prior that it learns afterwards.

The encoder's map of vectors is replaced, place by place, by the nearest vectors of a codebook, and the decoder makes
the image of those. Rounding has no gradient: the decoder's is passed straight to the encoder. When encoder, codebook
and decoder stand still, a PixelCNN learns which maps of codes occur, so that new ones can be drawn.

van den Oord, Vinyals & Kavukcuoglu, Neural Discrete Representation Learning, NeurIPS 2017 (arXiv:1711.00937):
equations below are theirs. The prior: van den Oord et al., NeurIPS 2016 (arXiv:1606.05328).

q(k|x) is deterministic, so that log p(x) ≥ log p(x|k(x)) + log p(k(x)), one term of the sum over k: the bound that
`score` and bits per dimension are of.
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
from genlab.nn.losses.likelihood import discretized_logistic_nll
from genlab.nn.losses.output_distribution import OutputDistribution
from genlab.nn.networks.pixelcnn import PixelCNN
from genlab.registry import MODELS, NETWORKS, Fraction, NetworkSpec, NonNegativeFloat, PositiveFloat, PositiveInt

Decay = Annotated[float, Ge(0), Lt(1)]
Share = Annotated[float, Gt(0), Lt(1)]
Halvings = Annotated[int, Gt(0), Lt(8)]
SCALES = (-7.0, 3.0)  # log scale of a logistic pixel: from far less than one of 256 levels to far more than all


@MODELS("vqvae")
class VQVAE(Model):
    """Codes are learned in the first `1 - prior_share` of training, their law in the rest.

    `prior` None: none is learned, all codes are as likely, and images drawn from them make no sense.
    """

    codebook: Codebook
    law: PixelCNN | None

    monitor = "prior/loss"  # comparable among steps once the codes stand still

    def __init__(
        self,
        image_shape: Shape,
        network: NetworkSpec,
        prior: NetworkSpec | None,
        halvings: Halvings = 2,
        codes: Annotated[int, Gt(1), Lt(2**20)] = 512,
        code_dim: PositiveInt = 64,
        codebook: Literal["ema", "gradient"] = "ema",
        decay: Decay = 0.95,
        revive: Fraction = 0.1,
        beta: NonNegativeFloat = 0.25,
        likelihood: Literal["logistic", "gaussian"] = "gaussian",
        sigma: PositiveFloat = 0.1,
        prior_share: Share = 0.5,
    ) -> None:
        super().__init__()
        channels, *sides = image_shape
        height, width = (_halved(side, halvings, image_shape) for side in sides)
        self.codes, self.code_shape, self.beta, self.revive = codes, (code_dim, height, width), beta, revive
        self.discrete, self.prior_share = likelihood == "logistic", prior_share
        self.gaussian = None if self.discrete else OutputDistribution("gaussian", sigma)
        output = (2 * channels if self.discrete else channels, *image_shape[1:])  # a mean, and a log scale
        self.encoder = NETWORKS.build(network, "model.network", inp=image_shape, out=self.code_shape)
        self.codebook = Codebook(codes, code_dim, codebook == "ema", decay, revive)
        self.decoder = NETWORKS.build(network, "model.network", inp=self.code_shape, out=output)
        self.law = _law(prior, (codes, height, width))  # p(k)

    def shared_forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images, the encoder's map z_e(x), and the numbers k of the nearest codes: eq. 1."""
        z = self.encoder(image).float()
        return image, z, self.codebook.nearest(z)

    def phases(self) -> list[Phase]:
        end = 1 - self.prior_share if self.law else 1.0
        coding = (0.0, end)
        coder = nn.ModuleList([self.encoder, self.codebook, self.decoder])
        phases = [Phase("codes", self.quantize, coder, window=coding)]
        if self.codebook.ema or self.revive:
            phases.append(Phase("codebook", self.follow, None, window=coding))
        if self.law:
            phases.append(Phase("prior", self.predict, self.law, window=(end, 1.0)))
        return phases

    def quantize(self, image: Tensor, z: Tensor, k: Tensor) -> dict[str, Tensor]:
        """Eq. 3, in nats and squares summed over places. `elbo` is the bound under the uniform prior of section 3.1."""
        e = self.codebook(k)
        z_q = z + (e - z).detach()  # eq. 2; the gradient goes past the rounding
        reconstruction = self.nll(self.decoder(z_q), image).mean()  # −log p(x|z_q(x))
        commitment = _squares(z - e.detach())  # ‖z_e(x) − sg[e]‖²
        loss = reconstruction + self.beta * commitment
        if not self.codebook.ema:
            loss = loss + _squares(z.detach() - e)  # ‖sg[z_e(x)] − e‖²
        return {
            "loss": loss,
            "elbo": -(reconstruction.detach() + self.uniform_length(k)),
            "reconstruction": reconstruction,
            "commitment": commitment,
            "perplexity": perplexity(self.codebook.tally(k)),
        }

    def follow(self, image: Tensor, z: Tensor, k: Tensor) -> dict[str, Tensor]:
        """The codebook's averages (appendix A.1) and new places for dead codes; trained models stand still."""
        if self.training:
            self.codebook.follow(z, k)
        return {}

    def predict(self, image: Tensor, z: Tensor, k: Tensor) -> dict[str, Tensor]:
        """−log p(k(x)): what the map of codes costs under the learned prior, in nats."""
        return {"loss": self.code_length(k).mean()}

    def uniform_length(self, k: Tensor) -> float:
        """KL(q(k|x) ‖ uniform), in nats: what a map of codes costs if all are as likely."""
        return k[0].numel() * math.log(self.codes)

    def code_length(self, k: Tensor) -> Tensor:
        """−log p(k) of each map (N,), in nats."""
        if self.law is None:
            return torch.full_like(k[:, 0, 0], self.uniform_length(k), dtype=torch.float32)
        return cross_entropy(self.law(k), k, reduction="none").flatten(1).sum(1)

    def nll(self, output: Tensor, image: Tensor) -> Tensor:
        """−log p(x|z_q) of each image (N,), from what the decoder gives."""
        if self.gaussian:
            return self.gaussian.nll(output, image)
        mean, log_scale = output.float().chunk(2, dim=1)
        return discretized_logistic_nll(mean, image, log_scale.clamp(*SCALES))

    def indices(self, image: Tensor) -> Tensor:
        """Images to the numbers of their codes, int64 (N, h, w), each in [0, `codes`)."""
        k: Tensor = self.shared_forward(image)[2]
        return k

    def encode(self, image: Tensor) -> Tensor:
        """The codes' vectors z_q(x), place after place flattened to (N, D)."""
        return self.codebook(self.indices(image)).flatten(1)

    def decode(self, code: Tensor) -> Tensor:
        """The mean image of p(x|z_q); of a mixture of codes as it is, not rounded to the codebook."""
        output = self.decoder(code.unflatten(1, self.code_shape))
        return self.gaussian.mean(output) if self.gaussian else output.float().chunk(2, dim=1)[0].clamp(0, 1)

    def reconstruct(self, image: Tensor) -> Tensor:
        return self.decode(self.encode(image))

    def sample(self, n: int) -> Tensor:
        """Maps of codes from the prior, decoded."""
        return self.decode(self.codebook(self.draw_codes(n)).flatten(1))

    def draw_codes(self, n: int) -> Tensor:
        """n maps of codes (n, h, w) from the learned prior, or from the uniform one."""
        if self.law:
            return self.law.draw(n)
        u = rng.uniform(n, *self.code_shape[1:], like=self.codebook.vectors)
        return (u * self.codes).long().clamp(max=self.codes - 1)

    def score(self, image: Tensor) -> Tensor:
        """−log p(x|k(x)) − log p(k(x)) of each image (N,), in nats: an upper bound on −log p(x)."""
        reconstruction, code = self.bound(image)
        return reconstruction + code

    def bound(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The two terms of `score`."""
        k = self.indices(image)
        return self.nll(self.decoder(self.codebook(k)), image), self.code_length(k)


def _law(spec: NetworkSpec | None, symbols: Shape) -> PixelCNN | None:
    if spec is None:
        return None
    law = NETWORKS.build(spec, "model.prior", inp=symbols, out=symbols)
    if not isinstance(law, PixelCNN):
        said = f"network '{spec['name']}' draws no maps of codes"
        raise ConfigError(said, "key model.prior.name", "use model.prior.name=pixelcnn")
    return law


def _squares(difference: Tensor) -> Tensor:
    return difference.square().flatten(1).sum(1).mean()


def _halved(side: int, halvings: int, image: Shape) -> int:
    if side % 2**halvings or side < 2**halvings:
        size = max(round(side / 2**halvings), 1) * 2**halvings
        raise ConfigError(
            f"model 'vqvae' cannot halve {image[1]}x{image[2]} images {halvings} times",
            "key model.halvings",
            f"use dataset.size={size} or fewer halvings",
        )
    return side // 2**halvings
