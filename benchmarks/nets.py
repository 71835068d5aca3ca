"""The networks of the workloads, written by hand, which the floor loops, pythae and Lightning train.

They equal genlab's configurations layer by layer, in the same order, so that weights can be copied.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pair = tuple[nn.Module, nn.Module]
Triple = tuple[nn.Module, nn.Module, nn.Module]


def mlp_vae() -> Pair:
    """784-400-(20, 20) and 20-400-784: 652,824 parameters. Images (N, 1, 28, 28), codes (N, 40) and (N, 20)."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 40))
    decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784), nn.Unflatten(1, (1, 28, 28)))
    return encoder, decoder


def conv_vae() -> Pair:
    """Five downsampling layers from 64x64x3 to 512x2x2 and back, latent_dim 128: 3,937,635 parameters."""
    widths = [3, 32, 64, 128, 256, 512]
    down: list[nn.Module] = []
    for a, b in pairwise(widths):
        down += [nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.LeakyReLU()]
    up: list[nn.Module] = [nn.Linear(128, 2048), nn.Unflatten(1, (512, 2, 2))]
    for a, b in pairwise([512, 256, 128, 64, 32, 32]):
        up += [nn.ConvTranspose2d(a, b, 3, 2, 1, 1), nn.BatchNorm2d(b), nn.LeakyReLU()]
    encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(2048, 256))
    return encoder, nn.Sequential(*up, nn.Conv2d(32, 3, 3, 1, 1))


def dcgan(width: int = 64) -> Pair:
    """DCGAN's generator (code (N, 100) to logits of 64x64x3) and discriminator (to (N, 1)): 6,342,272 parameters."""
    widths = [8 * width, 4 * width, 2 * width, width]
    up: list[nn.Module] = [nn.Unflatten(1, (100, 1, 1)), nn.ConvTranspose2d(100, widths[0], 4, bias=False)]
    for a, b in pairwise([*widths, 3]):
        up += [nn.BatchNorm2d(a), nn.ReLU(inplace=True), nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False)]
    down: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
    for b, a in pairwise(widths[::-1]):
        down += [nn.Conv2d(b, a, 4, 2, 1, bias=False), nn.BatchNorm2d(a), nn.LeakyReLU(0.2, inplace=True)]
    generator = nn.Sequential(*up)
    discriminator = nn.Sequential(*down, nn.Conv2d(8 * width, 1, 4, bias=False), nn.Flatten())
    for module in (*generator, *discriminator):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
    return generator, discriminator


def wgan_gp(width: int = 64) -> Pair:
    """DCGAN from a 7x7 map to 28x28x1 in two doublings, and a critic without batch norm: 898,176 parameters."""
    generator = nn.Sequential(
        nn.Unflatten(1, (100, 1, 1)), nn.ConvTranspose2d(100, 2 * width, 7, bias=False),
        nn.BatchNorm2d(2 * width), nn.ReLU(inplace=True), nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.ConvTranspose2d(width, 1, 4, 2, 1, bias=False),
    )  # fmt: skip
    critic = nn.Sequential(
        nn.Conv2d(1, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(width, 2 * width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(2 * width, 1, 7, bias=False), nn.Flatten(),
    )  # fmt: skip
    for module in (*generator, *critic):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
    return generator, critic


def bigan(width: int = 32, codes: int = 50) -> tuple[nn.Module, ...]:
    """BiGAN's encoder, generator, and the two parts of its discriminator, for 28x28x1 images: 1,637,057 parameters."""
    generator = nn.Sequential(
        nn.Unflatten(1, (codes, 1, 1)), nn.ConvTranspose2d(codes, 2 * width, 7, bias=False),
        nn.BatchNorm2d(2 * width), nn.ReLU(inplace=True), nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.ConvTranspose2d(width, 1, 4, 2, 1, bias=False),
    )  # fmt: skip
    encoder, features = (
        nn.Sequential(
            nn.Conv2d(1, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(2 * width, out, 7, bias=False), nn.Flatten(),
        )
        for out in (codes, 256)
    )  # fmt: skip
    head = nn.Sequential(
        nn.Linear(256 + codes, 512), nn.LeakyReLU(inplace=True), nn.Linear(512, 512), nn.LeakyReLU(inplace=True),
        nn.Linear(512, 1),
    )  # fmt: skip
    return encoder, generator, features, head


def r3gan() -> Pair:
    """R3GAN's networks between codes of 64, 28x28x1 images and a 7x7 map: 124,000 parameters."""
    widths = [64, 32, 16]
    up: list[nn.Module] = [FromCode(64, 64, 7), Inverted(64)]
    down: list[nn.Module] = [nn.Conv2d(1, 16, 1, bias=False), Inverted(16)]
    for (a, b), (c, d) in zip(pairwise(widths), pairwise(widths[::-1]), strict=True):
        up += [nn.Conv2d(a, b, 1, bias=False), Bilinear(b, up=True), Inverted(b)]
        down += [Bilinear(c, up=False), nn.Conv2d(c, d, 1, bias=False), Inverted(d)]
    return nn.Sequential(*up, nn.Conv2d(16, 1, 1, bias=False)), nn.Sequential(*down, ToLogit(64, 7))


class Inverted(nn.Module):
    """x + W₃ f(W₂ f(W₁ x)): twice the channels inside, W₂ of 3x3 in groups of 16."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.f = nn.Sequential(
            nn.Conv2d(width, 2 * width, 1), nn.LeakyReLU(0.2, True),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=width // 8), nn.LeakyReLU(0.2, True),
            nn.Conv2d(2 * width, width, 1, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.f(x)


class FromCode(nn.Module):
    def __init__(self, inp: int, width: int, side: int) -> None:
        super().__init__()
        self.maps, self.linear = nn.Parameter(torch.randn(width, side, side)), nn.Linear(inp, width, bias=False)

    def forward(self, code: Tensor) -> Tensor:
        return self.linear(code)[:, :, None, None] * self.maps


class ToLogit(nn.Module):
    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.maps, self.linear = nn.Parameter(torch.randn(width, side, side)), nn.Linear(width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear((x * self.maps).sum((2, 3)))


class Bilinear(nn.Module):
    """Twice or half the size, with the filter [1, 3, 3, 1]."""

    kernel: Tensor

    def __init__(self, width: int, up: bool) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3, 3, 1]) / (4 if up else 8)
        self.resample = F.conv_transpose2d if up else F.conv2d
        self.register_buffer("kernel", (taps[:, None] * taps).repeat(width, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.resample(x, self.kernel, stride=2, padding=1, groups=len(self.kernel))


class Residual(nn.Module):
    """x + W₂ relu(W₁ relu(x)), W₁ of 3x3 and W₂ of 1x1."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.f = nn.Sequential(nn.ReLU(), nn.Conv2d(width, hidden, 3, 1, 1), nn.ReLU(), nn.Conv2d(hidden, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.f(x)


def vqvae(width: int = 128, hidden: int = 32, codes: int = 512, dim: int = 64) -> Triple:
    """Encoder of 32x32x3 to 64x8x8, codebook (512, 64), decoder: 695,491 parameters."""
    edge = [nn.Conv2d(3, width // 2, 4, 2, 1), nn.ReLU(), nn.Conv2d(width // 2, width, 4, 2, 1), nn.ReLU()]
    down = [nn.Conv2d(width, width, 3, 1, 1), Residual(width, hidden), Residual(width, hidden), nn.ReLU()]
    up = [nn.Conv2d(dim, width, 3, 1, 1), Residual(width, hidden), Residual(width, hidden), nn.ReLU()]
    out = [nn.ConvTranspose2d(width, width // 2, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(width // 2, 3, 4, 2, 1)]
    encoder = nn.Sequential(*edge, *down, nn.Conv2d(width, dim, 1))
    return encoder, nn.Embedding(codes, dim), nn.Sequential(*up, *out)
