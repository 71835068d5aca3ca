"""Floor loops of GANs."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, softplus

from benchmarks.floors.how import How, Step


def gan(generator: nn.Module, discriminator: nn.Module, how: How) -> Step:
    """Goodfellow et al. (2014), non-saturating, trained like DCGAN: Adam 2e-4, β1 0.5. Returns the generator loss."""
    generate, judge = how.place(generator), how.place(discriminator)
    adams = [how.adam(net, 2e-4, (0.5, 0.999)) for net in (generator, discriminator)]

    def step(pixels: Tensor) -> Tensor:
        real = pixels.float().mul_(1 / 127.5).sub_(1).contiguous(memory_format=how.memory)
        code = torch.randn(len(real), 100, device=real.device)
        for adam in adams:
            adam.zero_grad(set_to_none=True)
        with how.autocast():
            fake = generate(code).tanh()
            on_real, on_fake = judge(real), judge(fake.detach())
        (softplus(-on_real.float()).mean() + softplus(on_fake.float()).mean()).backward()
        adams[1].step()
        discriminator.requires_grad_(False)
        with how.autocast():
            on_fake = judge(fake)
        loss = softplus(-on_fake.float()).mean()
        loss.backward()
        discriminator.requires_grad_(True)
        adams[0].step()
        return loss

    return step


def wgan_gp(generator: nn.Module, critic: nn.Module, how: How) -> Step:
    """Gulrajani et al. (2017), algorithm 1: λ 10, five critic steps, Adam 1e-4 (0, 0.9). Returns the critic loss.

    The critic is not compiled: torch.compile does not support second derivatives.
    """
    generate, judge = how.place(generator), critic.to(how.device, memory_format=how.memory)
    adams = [how.adam(net, 1e-4, (0.0, 0.9)) for net in (generator, critic)]
    turns = itertools.count(1)

    def step(pixels: Tensor) -> Tensor:
        moves = next(turns) % 5 == 0
        real = pixels.float().mul_(1 / 127.5).sub_(1).contiguous(memory_format=how.memory)
        code = torch.randn(len(real), 100, device=real.device)
        for adam in adams:
            adam.zero_grad(set_to_none=True)
        with how.autocast(), torch.set_grad_enabled(moves):
            fake = generate(code).tanh()
        with how.autocast():
            on_real, on_fake = judge(real), judge(fake.detach())
        share = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = torch.lerp(fake.detach().float(), real, share).requires_grad_()
        [slope] = torch.autograd.grad(judge(between).sum(), between, create_graph=True)
        norm = (slope.flatten(1).square().sum(1) + 1e-12).sqrt()
        loss = on_fake.float().mean() - on_real.float().mean() + 10 * (norm - 1).square().mean()
        loss.backward()
        adams[1].step()
        if moves:
            critic.requires_grad_(False)
            with how.autocast():
                on_fake = judge(fake)
            (-on_fake.float().mean()).backward()
            critic.requires_grad_(True)
            adams[0].step()
        return loss

    return step


def bigan(encoder: nn.Module, generator: nn.Module, features: nn.Module, head: nn.Module, how: How) -> Step:
    """Donahue et al. (2017), non-saturating, Adam 2e-4, β1 0.5, uniform codes. Returns the discriminator loss."""
    encode, generate, look, join = (how.place(net) for net in (encoder, generator, features, head))
    adams = [
        how.adam(net, 2e-4, (0.5, 0.999))
        for net in (nn.ModuleList([generator, encoder]), nn.ModuleList([features, head]))
    ]

    def judge(image: Tensor, code: Tensor) -> Tensor:
        seen = leaky_relu(look(image), 0.2)
        return join(torch.cat([seen, code.to(seen.dtype)], 1)).float()

    def step(pixels: Tensor) -> Tensor:
        real = pixels.float().mul_(1 / 127.5).sub_(1).contiguous(memory_format=how.memory)
        z = 2 * torch.rand(len(real), 50, device=real.device) - 1
        for adam in adams:
            adam.zero_grad(set_to_none=True)
        with how.autocast():
            code, fake = encode(real).float(), generate(z).tanh()
            on_real, on_fake = judge(real, code.detach()), judge(fake.detach(), z)
        loss = softplus(-on_real).mean() + softplus(on_fake).mean()
        loss.backward()
        adams[1].step()
        for net in (features, head):
            net.requires_grad_(False)
        with how.autocast():
            on_fake, on_real = judge(fake, z), judge(real, code)
        (softplus(-on_fake).mean() + softplus(on_real).mean()).backward()
        for net in (features, head):
            net.requires_grad_(True)
        adams[0].step()
        return loss

    return step


def r3gan(generator: nn.Module, discriminator: nn.Module, how: How) -> Step:
    """Huang et al. (2024): pairs of logits, R1 and R2 with γ 1, Adam 2e-4 (0, 0.99). Returns the discriminator loss.

    The discriminator is not compiled: torch.compile does not support second derivatives.
    """
    generate, judge = how.place(generator), discriminator.to(how.device, memory_format=how.memory)
    adams = [how.adam(net, 2e-4, (0.0, 0.99)) for net in (generator, discriminator)]

    def judged(images: Tensor) -> tuple[Tensor, Tensor]:
        x = images.detach().float().requires_grad_()
        logits = judge(x)
        [slope] = torch.autograd.grad(logits.sum(), x, create_graph=True)
        return logits, slope.square().sum()

    def step(pixels: Tensor) -> Tensor:
        real = pixels.float().mul_(1 / 127.5).sub_(1).contiguous(memory_format=how.memory)
        code = torch.randn(len(real), 64, device=real.device)
        for adam in adams:
            adam.zero_grad(set_to_none=True)
        with how.autocast():
            fake = generate(code).tanh()
        (on_real, at_real), (on_fake, at_fake) = judged(real), judged(fake)
        loss = softplus(on_fake - on_real).mean() + (at_real + at_fake) / (2 * len(real))
        loss.backward()
        adams[1].step()
        discriminator.requires_grad_(False)
        with how.autocast():
            margin = judge(real) - judge(fake)
        softplus(margin.float()).mean().backward()
        discriminator.requires_grad_(True)
        adams[0].step()
        return loss

    return step
