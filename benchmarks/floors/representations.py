"""Floor loops of models that learn codes: β-TCVAE, SimCLR, and a masked autoencoder."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.floors.how import How, Step
from benchmarks.floors.vae import BernoulliNLL


def encoder(widths: list[int], last: int, code: int, norm: bool) -> nn.Sequential:
    """3x3 convolutions that halve the image, each with ReLU, and a linear map from `last` numbers to the code."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Conv2d(a, b, 3, 2, 1), *([nn.BatchNorm2d(b)] if norm else []), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(last, code))


def small_vae() -> tuple[nn.Module, nn.Module]:
    """64x64x3 to a code of 10 and back: 172,087 parameters."""
    up: list[nn.Module] = [nn.Linear(10, 1024), nn.Unflatten(1, (64, 4, 4))]
    for a, b in pairwise([64, 64, 32, 32, 32]):
        up += [nn.ConvTranspose2d(a, b, 3, 2, 1, 1), nn.ReLU(inplace=True)]
    return encoder([3, 32, 32, 64, 64], 1024, 20, norm=False), nn.Sequential(*up, nn.Conv2d(32, 3, 3, 1, 1))


def beta_tcvae(encode: nn.Module, decode: nn.Module, how: How) -> Step:
    """Chen et al. (2018) with β = 6 and minibatch-weighted sampling; Adam 1e-3."""
    encode, decode = how.place(encode), how.place(decode)
    adam = how.adam(nn.ModuleList([encode, decode]), lr=1e-3)

    def step(pixels: Tensor) -> Tensor:
        adam.zero_grad(set_to_none=True)
        x = pixels.float().mul_(1 / 255).contiguous(memory_format=how.memory)
        with how.autocast():
            mean, log_variance = encode(x).float().chunk(2, 1)
            z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            logits = decode(z).float()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
        log_q = -0.5 * (((z[:, None] - mean) * torch.exp(-0.5 * log_variance)).square() + log_variance)
        joint, marginals = log_q.sum(2).logsumexp(1), log_q.logsumexp(1).sum(1)  # the constants of log q cancel
        correlation = (joint - marginals).sum() + len(z) * (z.shape[1] - 1) * math.log(len(z))
        loss = (BernoulliNLL.apply(logits, x) + kl + 5 * correlation) / len(x)
        loss.backward()
        adam.step()
        return loss

    return step


def simclr_networks() -> tuple[nn.Module, nn.Module]:
    """28x28x1 to a code of 128, and its projection to 64 numbers: 544,768 parameters."""
    projection = nn.Sequential(nn.Linear(128, 128), nn.ReLU(inplace=True), nn.Linear(128, 64))
    return encoder([1, 32, 64, 128, 256], 1024, 128, norm=True), projection


def view(image: Tensor) -> Tensor:
    """A random crop of at least a fifth of gray images in [0, 1], half of them mirrored, brightness and contrast
    changed; in [0, 1]."""
    u = torch.rand(len(image), 6, device=image.device)
    area, ratio = 0.2 + 0.8 * u[:, 0], torch.exp(math.log(4 / 3) * (2 * u[:, 1] - 1))
    sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1).clamp_(max=1)
    shift = (2 * u[:, 2:4] - 1) * (1 - sides)  # in halves of the image, as affine_grid counts
    signs = torch.stack([torch.where(u[:, 4] < 0.5, -1.0, 1.0), torch.ones_like(area)], 1)
    grid = F.affine_grid(
        torch.cat([torch.diag_embed(sides * signs), shift[:, :, None]], 2), list(image.shape), align_corners=False
    )
    cropped = F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)
    change = 0.4 * (2 * torch.rand(len(image), 4, 1, 1, 1, device=image.device)[:, :2] - 1)  # the last two: of colors
    bright = cropped * (1 + change[:, 0])
    middle = bright.mean((1, 2, 3), keepdim=True)
    return (middle + (bright - middle) * (1 + change[:, 1])).clamp_(0, 1)


def simclr(encode: nn.Module, project: nn.Module, how: How) -> Step:
    """Chen et al. (2020) with temperature 0.5; Adam 1e-3."""
    encode, project = how.place(encode), how.place(project)
    adam = how.adam(nn.ModuleList([encode, project]), lr=1e-3)

    def step(pixels: Tensor) -> Tensor:
        adam.zero_grad(set_to_none=True)
        x = pixels.float().mul_(1 / 255).contiguous(memory_format=how.memory)
        views = torch.cat([view(x), view(x)])
        with how.autocast():
            z = project(encode(views)).float()
        z = F.normalize(z, dim=1)
        similar = (z @ z.T / 0.5).fill_diagonal_(-torch.inf)
        partner = torch.arange(len(z), device=z.device).roll(len(x))
        loss = F.cross_entropy(similar, partner)
        loss.backward()
        adam.step()
        return loss

    return step


class Block(nn.Module):
    """A pre-norm transformer block with four heads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.mixed = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.mixed(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.perceptron(self.norm2(x))


class MAE(nn.Module):
    """49 patches of 4x4 pixels, 12 of them visible; an encoder of four blocks, a decoder of two: 904,976 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.mask_token = nn.Parameter(torch.zeros(64))
        self.embedding = nn.Linear(16, 128)
        self.encoder = nn.Sequential(*(Block(128) for _ in range(4)), nn.LayerNorm(128))
        self.bridge = nn.Linear(128, 64)
        self.decoder = nn.Sequential(*(Block(64) for _ in range(2)), nn.LayerNorm(64))
        self.pixels = nn.Linear(64, 16)
        self.register_buffer("place", sinusoids(128), persistent=False)
        self.register_buffer("decoder_place", sinusoids(64), persistent=False)

    def forward(self, patches: Tensor, shown: Tensor) -> Tensor:
        tokens = self.embedding(patches) + self.place
        known = self.bridge(self.encoder(tokens.gather(1, shown[:, :, None].expand(-1, -1, 128))))
        every = self.mask_token.to(known.dtype).expand(len(patches), 49, 64)
        every = every.scatter(1, shown[:, :, None].expand(-1, -1, 64), known)
        result: Tensor = self.pixels(self.decoder(every + self.decoder_place)).float()
        return result


def sinusoids(width: int) -> Tensor:
    """Cosines and sines of the row and the column of 7x7 places, (49, width)."""
    frequencies = torch.exp(-math.log(10_000) * torch.arange(width // 4) / (width // 4))
    angles = torch.arange(7)[:, None] * frequencies
    one = torch.cat([angles.cos(), angles.sin()], 1)
    return torch.cat([one[:, None].expand(-1, 7, -1), one.expand(7, -1, -1)], 2).flatten(0, 1)


def mae(network: nn.Module, how: How) -> Step:
    """He et al. (2022), pixels not normalized; Adam 1e-3."""
    net, adam = how.place(network), how.adam(network, lr=1e-3)

    def step(pixels: Tensor) -> Tensor:
        adam.zero_grad(set_to_none=True)
        patches = F.unfold(pixels.float().mul_(1 / 255), 4, stride=4).mT
        shown = torch.rand(len(patches), 49, device=pixels.device).argsort(1)[:, :12]
        with how.autocast():
            predicted = net(patches, shown)
        hidden = torch.ones(len(patches), 49, device=pixels.device).scatter_(1, shown, 0.0)
        loss = ((predicted - patches).square().sum(2) * hidden).sum() / len(patches)
        loss.backward()
        adam.step()
        return loss

    return step
