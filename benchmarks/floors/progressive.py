"""Floor loop of progressive growing at its last level: 32x32x1 images, 64, 64, 64 and 32 feature maps."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.floors.how import How, Step

WIDTHS = [64, 64, 64, 32]  # at 4, 8, 16 and 32 pixels


class Scaled(nn.Module):
    """A linear layer or convolution whose weights are multiplied by √(1/fan-in) each time, with leaky ReLU · √2."""

    def __init__(self, *shape: int, active: bool = True) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(shape)), nn.Parameter(torch.zeros(shape[0]))
        self.gain, self.active = 1 / math.sqrt(math.prod(shape[1:])), active

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.gain
        x = (
            F.linear(x, weight, self.bias)
            if x.ndim == 2
            else F.conv2d(x, weight, self.bias, padding=weight.shape[-1] // 2)
        )
        return F.leaky_relu(x, 0.2) * math.sqrt(2) if self.active else x


def normed(x: Tensor) -> Tensor:
    return x * (x.float().square().mean(1, keepdim=True) + 1e-8).rsqrt().to(x.dtype)


class Generator(nn.Module):
    """The layers to smaller images are there and unused."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.same = Scaled(WIDTHS[0] * 16, 64), Scaled(WIDTHS[0], WIDTHS[0], 3, 3)
        self.blocks = nn.ModuleList(
            nn.ModuleList([Scaled(b, a, 3, 3), Scaled(b, b, 3, 3)]) for a, b in pairwise(WIDTHS)
        )
        self.images = nn.ModuleList(Scaled(1, width, 1, 1, active=False) for width in WIDTHS)

    def forward(self, code: Tensor) -> Tensor:
        x = normed(self.same(normed(self.first(normed(code)).view(-1, WIDTHS[0], 4, 4))))
        for one, two in self.blocks:  # type: ignore[misc]
            x = normed(two(normed(one(F.interpolate(x, scale_factor=2.0, mode="nearest")))))
        return self.images[-1](x).float().tanh()


class Critic(nn.Module):
    """The layers from smaller images are there and unused."""

    def __init__(self) -> None:
        super().__init__()
        self.images = nn.ModuleList(Scaled(width, 1, 1, 1) for width in WIDTHS)
        self.blocks = nn.ModuleList(
            nn.ModuleList([Scaled(b, b, 3, 3), Scaled(a, b, 3, 3)]) for a, b in pairwise(WIDTHS)
        )
        self.same, self.hidden = Scaled(WIDTHS[0], WIDTHS[0] + 1, 3, 3), Scaled(WIDTHS[0], WIDTHS[0] * 16)
        self.logit = Scaled(1, WIDTHS[0], active=False)

    def forward(self, image: Tensor) -> Tensor:
        x = self.images[-1](image)
        for one, two in reversed(self.blocks):  # type: ignore[call-overload]
            x = F.avg_pool2d(two(one(x)), 2)
        group = x.float().view(-1, 4, *x.shape[1:])
        spread = ((group - group.mean(1, keepdim=True)).square().mean(1) + 1e-8).sqrt().mean((1, 2, 3))
        plane = spread.repeat_interleave(4)[:, None, None, None].expand(-1, 1, 4, 4)
        return self.logit(self.hidden(self.same(torch.cat([x, plane.to(x.dtype)], 1)).flatten(1)))


def progressive(generator: nn.Module, critic: nn.Module, how: How) -> Step:
    """Karras et al. (2018): WGAN-GP with drift, one critic step, Adam 1e-3 (0, 0.99). Returns the critic loss.

    The critic is not compiled: torch.compile does not support second derivatives.
    """
    generate, judge = how.place(generator), critic.to(how.device, memory_format=how.memory)
    adams = [how.adam(net, 1e-3, (0.0, 0.99)) for net in (generator, critic)]

    def step(pixels: Tensor) -> Tensor:
        real = pixels.float().mul_(1 / 127.5).sub_(1).contiguous(memory_format=how.memory)
        code = torch.randn(len(real), 64, device=real.device)
        for adam in adams:
            adam.zero_grad(set_to_none=True)
        with how.autocast():
            fake = generate(code)
            on_real, on_fake = judge(real).float(), judge(fake.detach()).float()
        share = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = torch.lerp(fake.detach(), real, share).requires_grad_()
        [slope] = torch.autograd.grad(judge(between).sum(), between, create_graph=True)
        norm = (slope.flatten(1).square().sum(1) + 1e-12).sqrt()
        loss = on_fake.mean() - on_real.mean() + 0.001 * on_real.square().mean() + 10 * (norm - 1).square().mean()
        loss.backward()
        adams[1].step()
        critic.requires_grad_(False)
        with how.autocast():
            on_fake = judge(fake)
        (-on_fake.float().mean()).backward()
        critic.requires_grad_(True)
        adams[0].step()
        return loss

    return step
