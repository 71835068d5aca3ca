"""Floor loops of diffusion and flow models: Adam 1e-3 on the squared error of what the network predicts, and an EMA."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.floors.how import How, Step, ema

Objective = Callable[[nn.Module, Tensor], Tensor]  # of the network and images in [-1, 1]: the loss


def loop(network: nn.Module, how: How, objective: Objective) -> Step:
    net, adam, average = how.place(network), how.adam(network, lr=1e-3), ema(network)

    def step(pixels: Tensor) -> Tensor:
        adam.zero_grad(set_to_none=True)
        x = pixels.float().mul_(2 / 255).sub_(1).contiguous(memory_format=how.memory)
        with how.autocast():
            loss = objective(net, x)
        loss.backward()
        adam.step()
        average()
        return loss

    return step


def flow_matching(network: nn.Module, how: How) -> Step:
    """Lipman et al. (2023): the velocity x₁ − x₀ at (1 − t) x₀ + t x₁, t uniform."""

    def objective(net: nn.Module, x1: Tensor) -> Tensor:
        x0, t = torch.randn_like(x1), torch.rand(len(x1), device=x1.device)
        v = net(torch.lerp(x0, x1, t[:, None, None, None]), t).float()
        return (v - (x1 - x0)).square().sum() / len(x1)

    return loop(network, how, objective)


def ddpm(network: nn.Module, how: How) -> Step:
    """Ho et al. (2020): the noise at one of 1,000 steps of the linear schedule."""
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    tables = torch.stack([alpha_bar.sqrt(), (1 - alpha_bar).sqrt()]).float().to(how.device)

    def objective(net: nn.Module, x0: Tensor) -> Tensor:
        epsilon = torch.randn_like(x0)
        t = (1000 * torch.rand(len(x0), device=x0.device)).long()
        signal, noise = tables[:, t, None, None, None]
        predicted = net(torch.addcmul(noise * epsilon, signal, x0), (t + 1) / 1000).float()
        return (predicted - epsilon).square().sum() / len(x0)

    return loop(network, how, objective)


def edm(network: nn.Module, how: How) -> Step:
    """Karras et al. (2022): a preconditioned denoiser, σ_data 0.5, ln σ ~ N(-1.2, 1.2²)."""

    def objective(net: nn.Module, y: Tensor) -> Tensor:
        sigma = (1.2 * torch.randn(len(y), device=y.device) - 1.2).exp()[:, None, None, None]
        x = torch.addcmul(y, sigma, torch.randn_like(y))
        total = sigma.square() + 0.25
        network = net(x * total.rsqrt(), sigma.log() / 4).float()
        # λ ‖c_skip x + c_out F − y‖² = ‖F − (y − c_skip x) / c_out‖²
        target = (y - x * (0.25 / total)) * (total.sqrt() / (0.5 * sigma))
        return (network - target).square().sum() / len(y)

    return loop(network, how, objective)


def meanflow(network: nn.Module, how: How) -> Step:
    """Geng et al. (2025): the average velocity of an interval for a quarter of the batch, an instant for the others."""
    with warnings.catch_warnings():  # torch's own, when it first loads its rules for layers
        warnings.simplefilter("ignore", FutureWarning)
        torch.func.jvp(lambda x: torch.layer_norm(x, (2,)), (torch.ones(2),), (torch.ones(2),))

    def objective(net: nn.Module, x: Tensor) -> Tensor:
        epsilon = torch.randn_like(x)
        ends = torch.stack([torch.randn(len(x), device=x.device) for _ in range(2)]).sub_(0.4).sigmoid_()
        r, t = ends.amin(0), ends.amax(0)
        z, v = torch.lerp(x, epsilon, t[:, None, None, None]), epsilon - x
        apart = slice(3, None, 4)  # examples with r < t
        times = torch.stack([t, t - r], 1)
        directions = v[apart], torch.ones_like(times[apart])
        with sdpa_kernel(SDPBackend.MATH), torch.autocast(x.device.type, enabled=False):
            u, slope = torch.func.jvp(net, (z[apart], times[apart]), directions)
        target = v[apart] - (t - r)[apart, None, None, None] * slope.detach()
        together = torch.arange(len(x), device=x.device) % 4 != 3
        instant = torch.stack([t[together], torch.zeros_like(t[together])], 1)
        errors = torch.cat([u - target, net(z[together], instant).float() - v[together]]).square().flatten(1).sum(1)
        return (errors / (errors.detach() + 1e-3)).mean()

    return loop(network, how, objective)
