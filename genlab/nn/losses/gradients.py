"""Gradients of a critic with respect to its images, as numbers that can be differentiated once more.

Always in float32: a squared gradient of half precision loses the small ones. torch.compile has no second derivative:
it leaves these functions out of what it compiles, and all that they call.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from genlab.core.uncompiled import Uncompiled

Critic = Callable[[Tensor], Tensor]
EPSILON = 1e-12  # under a root, whose derivative at 0 is infinite


@Uncompiled
def logits_and_gradient(critic: Critic, images: Tensor) -> tuple[Tensor, Tensor]:
    """D(x) and ∇ₓ ΣD(x), of the shape of `images` (N, ...), float32: the sum's gradient at x_i is that of D(x_i) alone.

    Works where gradients are off, and is itself differentiable where they are on. `images` may have a history: the
    gradient with respect to it then flows on.
    """
    learns = torch.is_grad_enabled()
    with torch.enable_grad(), torch.autocast(images.device.type, enabled=False):
        x = images.float()
        x = x if x.requires_grad else x.detach().requires_grad_()
        logits = critic(x).float()
        [gradient] = torch.autograd.grad(logits.sum(), x, create_graph=learns)
    return logits, gradient


def image_gradient(critic: Critic, images: Tensor) -> Tensor:
    """The second of `logits_and_gradient`."""
    return logits_and_gradient(critic, images)[1]


def squared_norms(logits: Tensor, gradient: Tensor) -> Tensor:
    """‖∇D‖² for each logit: where a critic takes m images at once (PacGAN), they count together."""
    own = gradient.flatten(1).square().sum(1)
    if len(own) == len(logits):
        return own
    size = -(-len(own) // len(logits))
    return nn.functional.pad(own, (0, size * len(logits) - len(own))).view(-1, size).sum(1)


def squared_gradient(critic: Critic, images: Tensor) -> Tensor:
    """‖∇D(x)‖² (N,) of images (N, ...): Mescheder, Geiger & Nowozin, ICML 2018 (arXiv:1801.04406), eq. 9."""
    return squared_norms(*logits_and_gradient(critic, images))


def gradient_norm(critic: Critic, images: Tensor) -> Tensor:
    """‖∇D(x)‖ (N,), with a root that can be differentiated at 0."""
    return (squared_gradient(critic, images) + EPSILON).sqrt()
