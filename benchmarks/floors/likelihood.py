"""Floor loops of models with a tractable likelihood: PixelCNN, MADE and Real NVP, for gray images of 28x28 pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from benchmarks.floors.how import How, Step, ema
from benchmarks.floors.vae import BernoulliNLL


def loop(network: nn.Module, how: How, nll: Callable[[nn.Module, Tensor], Tensor], averages: bool) -> Step:
    """Adam 1e-3 on the mean of −log p, `nll` being the sum over images in [0, 1]."""
    net, adam = how.place(network), how.adam(network, lr=1e-3)
    average = ema(network) if averages else lambda: None

    def step(pixels: Tensor) -> Tensor:
        adam.zero_grad(set_to_none=True)
        x = pixels.float().mul_(1 / 255).contiguous(memory_format=how.memory)
        with how.autocast():
            loss = nll(net, x) / len(x)
        loss.backward()
        adam.step()
        average()
        return loss

    return step


def binary_nll(net: nn.Module, image: Tensor) -> Tensor:
    x = torch.rand_like(image).lt_(image)
    return BernoulliNLL.apply(net(x).float(), x)


def pixelcnn(network: nn.Module, how: How) -> Step:
    """van den Oord et al. (2016), pixels sampled at every step."""
    return loop(network, how, binary_nll, averages=True)


class PixelCNN(nn.Module):
    """Six gated layers of 32 channels, kernels without masked weights, dilations 1, 2 and 4."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            Gated(1 if i == 0 else channels, channels, 3 if i == 0 else 1, i == 0, d)
            for i, d in enumerate((1, 1, 2, 4, 1, 2))
        )
        self.head = nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, 2 * channels, 1), nn.ReLU(inplace=True), nn.Conv2d(2 * channels, 1, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        above = left = 2 * x - 1
        last = self.layers[-1]
        for layer in self.layers:
            above, left = layer(above, left, layer is last)
        return self.head(left)


class Gated(nn.Module):
    def __init__(self, inp: int, channels: int, reach: int, first: bool, dilation: int) -> None:
        super().__init__()
        self.reach, self.first, own = reach * dilation, first, int(not first)
        self.vertical = nn.Conv2d(inp, 2 * channels, (reach + own, 2 * reach + 1), dilation=dilation)
        self.horizontal = nn.Conv2d(inp, 2 * channels, (1, reach + own), dilation=dilation)
        self.link = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.output = nn.Conv2d(channels, channels, 1)

    def forward(self, above: Tensor, left: Tensor, last: bool) -> tuple[Tensor, Tensor]:
        height, width = left.shape[2:]
        seen = self.vertical(F.pad(above, (self.reach, self.reach, self.reach, 0)))[:, :, :height]
        beside = self.horizontal(F.pad(left, (self.reach, 0)))[..., :width] + self.link(seen)
        out = self.output(gate(beside))
        return above if last else gate(seen), out if self.first else left + out


def gate(x: Tensor) -> Tensor:
    a, b = x.chunk(2, 1)
    return a.tanh() * b.sigmoid()


class MADE(nn.Module):
    """784-1000-1000-784 with one mask for each layer, of the degrees of its units."""

    def __init__(self, pixels: int = 784, hidden: int = 1000) -> None:
        super().__init__()
        order = torch.arange(1, pixels + 1)[None]
        degrees = [order, *(torch.randint(1, pixels, (1, hidden)) for _ in range(2)), order - 1]
        self.layers = nn.ModuleList(Masked(a, b) for a, b in pairwise(degrees))

    def forward(self, x: Tensor) -> Tensor:
        first, second, third = self.layers
        return third(second(first(x.flatten(1)).relu_()).relu_()).view_as(x)


class Masked(nn.Linear):
    """Weights that the mask sets to zero, once; later it holds back only their gradients."""

    degrees_in: Tensor
    degrees_out: Tensor

    def __init__(self, degrees_in: Tensor, degrees_out: Tensor) -> None:
        super().__init__(degrees_in.shape[1], degrees_out.shape[1])
        self.register_buffer("degrees_in", degrees_in.clone())
        self.register_buffer("degrees_out", degrees_out.clone())

    def mask(self) -> None:
        kept = (self.degrees_in <= self.degrees_out.T).float()
        self.weight.data.mul_(kept)

        def masked(weight: Tensor) -> None:
            weight.grad.mul_(kept)

        self.weight.register_post_accumulate_grad_hook(masked)


def made(network: MADE, how: How) -> Step:
    """Germain et al. (2015), pixels sampled at every step."""
    network.to(how.device)
    for layer in network.layers:
        layer.mask()
    return loop(network, how, binary_nll, averages=False)


class RealNVP(nn.Module):
    """Three scales of three couplings before and after each squeeze, and four at the last; networks of 32 channels."""

    def __init__(self, side: int = 28, couplings: int = 3) -> None:
        super().__init__()
        self.scales = nn.ModuleList()
        for level in range(3):
            c, s, last = 2**level, side // 2**level, level == 2
            scale = nn.ModuleList([nn.ModuleList(Coupling(checkers(c, s, i)) for i in range(couplings + last))])
            if not last:
                scale.append(nn.ModuleList(Coupling(halves(4 * c, i)) for i in range(couplings)))
            self.scales.append(scale)

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The sum over images of ½|z|², and that of the log-determinants."""
        squares = log_det = y.new_zeros(())
        for before, *after in self.scales:
            for coupling in before:
                y, log_det = coupling(y, log_det)
            if after:
                y = pixel_unshuffle(y, 2)
                for coupling in after[0]:
                    y, log_det = coupling(y, log_det)
                y, done = y.chunk(2, 1)
                squares = squares + 0.5 * done.square().sum()
        return squares + 0.5 * y.square().sum(), log_det


class Coupling(nn.Module):
    kept: Tensor
    changed: Tensor

    def __init__(self, kept: Tensor, width: int = 32) -> None:
        super().__init__()
        channels = len(kept)
        self.register_buffer("kept", kept, persistent=False)
        self.register_buffer("changed", 1 - kept, persistent=False)
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.network = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), Residual(width), Residual(width),
                                     nn.ReLU(), nn.Conv2d(width, 2 * channels, 3, padding=1))  # fmt: skip

    def forward(self, x: Tensor, log_det: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self.network(x * self.kept).float().chunk(2, 1)
        s = s.tanh() * (self.scale * self.changed)
        return torch.addcmul(t * self.changed, x, s.exp()), log_det + s.sum()


class Residual(nn.Sequential):
    def __init__(self, width: int) -> None:
        super().__init__(nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True),
                         nn.Conv2d(width, width, 1))  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


def checkers(channels: int, side: int, parity: int) -> Tensor:
    """(C, side, side): 1 on the fields of one color."""
    reach = torch.arange(side)
    return ((reach[:, None] + reach + parity) % 2).float().expand(channels, -1, -1).clone()


def halves(channels: int, parity: int) -> Tensor:
    """(C, 1, 1): 1 for the first half of the channels, or for the second."""
    first = torch.arange(channels) < channels // 2
    return (first ^ bool(parity % 2)).float()[:, None, None]


def realnvp(network: nn.Module, how: How, alpha: float = 0.05) -> Step:
    """Dinh et al. (2017), on dequantized pixels; the loss is in nats per image of 256 levels."""

    def nll(net: nn.Module, image: Tensor) -> Tensor:
        x = (image * 255 + torch.rand_like(image)) * ((1 - 2 * alpha) / 256) + alpha
        log_x, log_complement = x.log(), torch.log1p(-x)
        squares, log_det = net(log_x - log_complement)
        constant = x.numel() * (math.log(2 * math.pi) / 2 - math.log(1 - 2 * alpha) + math.log(256))
        return squares - log_det + (log_x + log_complement).sum() + constant

    return loop(network, how, nll, averages=True)
