"""Squared Frobenius norms ‖∂h/∂x‖²_F of an encoder's Jacobian: (N,), one per image, in float32 even under autocast."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlab.core import rng


def sigmoid_jacobian_norm(encoder: nn.Sequential, image: Tensor) -> Tensor:
    """Closed form for one sigmoid layer h = σ(Wx + b): Σ_j (h_j(1 − h_j))² Σ_i W_ji².

    `encoder` is (flatten, linear, sigmoid). Rifai et al., Contractive Auto-Encoders, ICML 2011, section 5.2.
    """
    _, layer, _ = encoder
    assert isinstance(layer, nn.Linear)
    with torch.autocast(image.device.type, enabled=False):
        code = encoder(image)
        return (code * (1 - code)).square() @ layer.weight.square().sum(1)


def estimated_jacobian_norm(encoder: nn.Module, image: Tensor, probes: int = 1) -> Tensor:
    """Hutchinson's unbiased estimate: the mean of ‖Jᵀv‖² over `probes` vectors v of random signs.

    E vvᵀ = I gives E‖Jᵀv‖² = tr(JJᵀ). Each probe costs one backward pass, which is differentiated again in training;
    it also works under no_grad. The encoder must treat each image by itself, which batch norm in training does not.
    Hutchinson, Communications in Statistics 18 (1989).
    """
    training = torch.is_grad_enabled()
    with torch.enable_grad(), torch.autocast(image.device.type, enabled=False):
        x = image.detach().requires_grad_()
        code = encoder(x)
        total = torch.zeros(len(x), device=x.device)
        for probe in range(probes):
            sign = rng.normal(*code.shape, like=code).sign()
            retain = training or probe + 1 < probes
            [product] = torch.autograd.grad((code * sign).sum(), x, retain_graph=retain, create_graph=training)
            total = total + product.flatten(1).square().sum(1)
        return total / probes
