"""Floor loops of the VAE and the VQ-VAE."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.floors.how import How, Step


class BernoulliNLL(torch.autograd.Function):
    """−log Bernoulli(x; sigmoid(logits)), summed; its gradient is sigmoid(logits) − x.

    log(sigmoid) instead of log1p, which is four times slower on some CPUs.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, x: Tensor) -> Tensor:
        p = torch.sigmoid(logits)
        ctx.save_for_backward(p, x)
        return logits.sum() - torch.log(p.clamp_min(1e-30)).sum() - (x * logits).sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        p, x = ctx.saved_tensors
        return (p - x).mul_(grad), None


def half_squared_error(logits: Tensor, x: Tensor) -> Tensor:
    return 0.5 * (logits.sigmoid() - x).square().sum()


def vae(encoder: nn.Module, decoder: nn.Module, how: How, nll: Callable[[Tensor, Tensor], Tensor]) -> Step:
    """Kingma & Welling (2014), one sample per code; Adam 1e-3."""
    encode, decode = how.place(encoder), how.place(decoder)
    adam = how.adam(nn.ModuleList([encoder, decoder]), lr=1e-3)

    def step(pixels: Tensor) -> Tensor:
        adam.zero_grad(set_to_none=True)
        x = pixels.float().mul_(1 / 255).contiguous(memory_format=how.memory)
        with how.autocast():
            mean, log_variance = encode(x).float().chunk(2, 1)
            z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            logits = decode(z).float()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
        loss = (nll(logits, x) + kl) / len(x)
        loss.backward()
        adam.step()
        return loss

    return step


def vqvae(encoder: nn.Module, codebook: nn.Module, decoder: nn.Module, how: How) -> Step:
    """van den Oord et al. (2017), equation 3 with β = 0.25 and a codebook learned by gradient; Adam 1e-3."""
    encode, decode, codes = how.place(encoder), how.place(decoder), codebook.to(how.device)
    adam = how.adam(nn.ModuleList([encoder, codebook, decoder]), lr=1e-3)

    def step(pixels: Tensor) -> Tensor:
        adam.zero_grad(set_to_none=True)
        x = pixels.float().mul_(1 / 255).contiguous(memory_format=how.memory)
        with how.autocast():
            z = encode(x).float()
        with torch.no_grad():
            rows, e = z.movedim(1, -1).flatten(0, -2), codes.weight
            index = torch.addmm(e.square().sum(1), rows, e.t(), alpha=-2).argmin(1)
        q = codes(index.view(len(z), *z.shape[2:])).movedim(-1, 1)
        with how.autocast():
            logits = decode(z + (q - z).detach()).float()
        rounding = (z.detach() - q).square().sum() + 0.25 * (z - q.detach()).square().sum()
        loss = (half_squared_error(logits, x) + rounding) / len(x)
        loss.backward()
        adam.step()
        return loss

    return step
