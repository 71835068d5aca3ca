"""What an autoencoder's code is charged for beside the reconstruction: being dense, or moving with its input.

Each is summed over the code and averaged over the batch, in float32, unweighted; `weight` is the share in the loss.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Gt, Lt
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from genlab.core import rng
from genlab.distributed.batch_norm import global_mean
from genlab.errors import ConfigError
from genlab.registry import PENALTIES, NonNegativeFloat, PositiveInt

OpenFraction = Annotated[float, Gt(0), Lt(1)]


def kl_to_rate(mean: Tensor, rate: float) -> Tensor:
    """Σ_j KL(ρ ‖ ρ̂_j) of mean activations (D,) in (0, 1) to the target rate ρ: Ng, Sparse autoencoder (2011)."""
    mean = mean.float().clamp(1e-6, 1 - 1e-6)
    terms = rate * (rate / mean).log() + (1 - rate) * ((1 - rate) / (1 - mean)).log()
    return terms.sum()


def sigmoid_jacobian_norm(code: Tensor, weight: Tensor) -> Tensor:
    """‖∂h/∂x‖²_F (N,) of one sigmoid layer h = σ(Wx + b): Σ_j (h_j(1 − h_j))² Σ_i W_ji².

    Code h (N, D), weight W (D, pixels). Rifai, Vincent, Muller, Glorot & Bengio, Contractive Auto-Encoders, ICML 2011,
    section 5.2.
    """
    return (code * (1 - code)).square() @ weight.square().sum(1)


def jacobian_norm(encoder: nn.Module, image: Tensor, probes: int = 1) -> Tensor:
    """Hutchinson's unbiased estimate of ‖∂h/∂x‖²_F (N,): the mean of ‖Jᵀv‖² over `probes` vectors v of random signs.

    E vvᵀ = I gives E‖Jᵀv‖² = tr(JJᵀ). Each probe is one pass backwards, which is differentiated again in training.
    Works where gradients are off, too. The encoder must treat each image by itself (batch norm in training does not).
    Hutchinson, Communications in Statistics 18 (1989).
    """
    learns = torch.is_grad_enabled()
    with torch.enable_grad():
        x = image.detach().requires_grad_()
        code = encoder(x)
        total = torch.zeros(len(x), device=x.device)
        for probe in range(probes):
            sign = rng.normal(*code.shape, like=code).sign()
            again = learns or probe + 1 < probes
            [moved] = torch.autograd.grad((code * sign).sum(), x, retain_graph=again, create_graph=learns)
            total = total + moved.flatten(1).square().sum(1)
    return total / probes


class KeepLargest(nn.Module):
    """All but the k largest numbers of each code (N, D) become 0, and take no gradients; k ≥ D changes nothing.

    Makhzani & Frey, k-Sparse Autoencoders, ICLR 2014 (arXiv:1312.5663), algorithm 1.
    """

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, code: Tensor) -> Tensor:
        kept = code.topk(min(self.k, code.shape[1]), dim=1)
        return torch.zeros_like(code).scatter(1, kept.indices, kept.values)


@PENALTIES("sparse")
class Sparse(nn.Module):
    """`l1`: Σ_j |h_j|. `kl`: Σ_j KL(ρ ‖ ρ̂_j), ρ̂_j the mean of h_j over the batch, for codes in (0, 1)."""

    def __init__(
        self,
        encoder: nn.Sequential,
        kind: Literal["l1", "kl"] = "l1",
        weight: NonNegativeFloat = 0.1,
        rate: OpenFraction = 0.05,
    ) -> None:
        super().__init__()
        self.kind, self.weight, self.rate = kind, weight, rate
        if kind == "kl" and not isinstance(encoder[-1], nn.Sigmoid):
            raise ConfigError(
                "a rate is a mean of numbers in (0, 1)", "model.penalty.kind=kl", "add model.code=sigmoid"
            )

    def forward(self, encoder: nn.Sequential, image: Tensor, code: Tensor) -> Tensor:
        if self.kind == "l1":
            return code.float().abs().sum(1).mean()
        return kl_to_rate(global_mean(code.float(), self.training), self.rate)


@PENALTIES("contractive")
class Contractive(nn.Module):
    """‖∂h/∂x‖²_F, exact for an encoder of one sigmoid layer, else Hutchinson's estimate; in fp32 always."""

    def __init__(
        self,
        encoder: nn.Sequential,
        estimate: Literal["exact", "hutchinson"] = "exact",
        weight: NonNegativeFloat = 0.1,
        probes: PositiveInt = 1,
    ) -> None:
        super().__init__()
        self.estimate, self.weight, self.probes = estimate, weight, probes
        if estimate == "hutchinson" and any(isinstance(layer, _BatchNorm) for layer in encoder.modules()):
            raise ConfigError(
                "with batch norm a code depends on the other images of its batch, and has no Jacobian of its own",
                "model.penalty.name=contractive",
                "use a network without it: conv and resnet take model.network.norm=none",
            )
        kinds = [type(layer) for layer in encoder]
        if estimate == "exact" and kinds != [nn.Flatten, nn.Linear, nn.Sigmoid]:
            raise ConfigError(
                "the exact norm of the Jacobian is that of one sigmoid layer",
                "model.network={name: mlp, hidden: []} model.code=sigmoid",
                "use model.penalty.estimate=hutchinson",
            )

    def forward(self, encoder: nn.Sequential, image: Tensor, code: Tensor) -> Tensor:
        with torch.autocast(image.device.type, enabled=False):
            if self.estimate == "hutchinson":
                return jacobian_norm(encoder, image, self.probes).mean()
            _, layer, _ = encoder
            assert isinstance(layer, nn.Linear)
            return sigmoid_jacobian_norm(encoder(image), layer.weight).mean()
