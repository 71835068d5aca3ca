"""Floor loops of image translation: CycleGAN and pix2pix, one image a step, color, networks with instance norm.

A batch holds the two images of a step side by side along the channels, (1, 6, H, W).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from benchmarks.floors.how import How, Step

BETAS = (0.5, 0.999)


def norm(channels: int) -> nn.Module:
    return nn.GroupNorm(channels, channels)  # instance norm, and on a CPU faster than nn.InstanceNorm2d


def translator(c: int = 64, blocks: int = 6) -> nn.Sequential:
    """CycleGAN's generator, to logits of a tanh."""
    layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, c, 7), norm(c), nn.ReLU(True)]
    for a in (c, 2 * c):
        layers += [nn.Conv2d(a, 2 * a, 3, 2, 1), norm(2 * a), nn.ReLU(True)]
    layers += [Residual(4 * c) for _ in range(blocks)]
    for a in (4 * c, 2 * c):
        layers += [nn.ConvTranspose2d(a, a // 2, 3, 2, 1, 1), norm(a // 2), nn.ReLU(True)]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(c, 3, 7))


class Residual(nn.Sequential):
    def __init__(self, c: int) -> None:
        super().__init__(nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3), norm(c), nn.ReLU(True),
                         nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3), norm(c))  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


def patchgan(inp: int, c: int = 64) -> nn.Sequential:
    """The 70x70 PatchGAN."""
    layers = [nn.Conv2d(inp, c, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for a, b, stride in ((c, 2 * c, 2), (2 * c, 4 * c, 2), (4 * c, 8 * c, 1)):
        layers += [nn.Conv2d(a, b, 4, stride, 1), norm(b), nn.LeakyReLU(0.2, True)]
    return nn.Sequential(*layers, nn.Conv2d(8 * c, 1, 4, 1, 1))


def cyclegan(g: nn.Module, f: nn.Module, d_x: nn.Module, d_y: nn.Module, how: How) -> Step:
    """Zhu et al. (2017): least squares, cycle 10, identity 5, pools of 50 fakes, which are full after 50 steps.

    Returns the generators' loss.
    """
    g, f, d_x, d_y = (how.place(net) for net in (g, f, d_x, d_y))
    discriminators = nn.ModuleList([d_x, d_y])
    adams = [how.adam(nets, 2e-4, BETAS) for nets in (nn.ModuleList([g, f]), discriminators)]
    pools: list[list[Tensor]] = [[], []]

    def distance(one: Tensor, other: Tensor) -> Tensor:
        return (one.float() - other).abs().mean()

    def shown(pool: list[Tensor], fake: Tensor) -> Tensor:
        """The fake, which fills the pool or, half of the time, changes places with one in the full pool."""
        chance, place = torch.rand(1, 2)[0].tolist()
        if len(pool) < 50:
            pool.append(fake)
        elif chance < 0.5:
            pool[int(50 * place)], fake = fake, pool[int(50 * place)]
        return fake

    def step(pixels: Tensor) -> Tensor:
        images = pixels.float().mul_(2 / 255).sub_(1)
        x, y = (each.contiguous(memory_format=how.memory) for each in images.chunk(2, 1))
        for adam in adams:
            adam.zero_grad(set_to_none=True)
        discriminators.requires_grad_(False)
        with how.autocast():
            fake_x, fake_y = f(y).tanh(), g(x).tanh()
            older = [shown(pool, fake.detach()) for pool, fake in zip(pools, (fake_x, fake_y), strict=True)]
            adversarial = sum((d(fake).float() - 1).square().mean() for d, fake in ((d_x, fake_x), (d_y, fake_y)))
            cycle = distance(f(fake_y).tanh(), x) + distance(g(fake_x).tanh(), y)
            identity = distance(f(x).tanh(), x) + distance(g(y).tanh(), y)
        loss = adversarial + 10 * cycle + 5 * identity
        loss.backward()
        adams[0].step()
        discriminators.requires_grad_(True)
        with how.autocast():
            logits = [(d(real).float(), d(old).float()) for d, real, old in zip((d_x, d_y), (x, y), older, strict=True)]
        sum(0.5 * ((real - 1).square().mean() + fake.square().mean()) for real, fake in logits).backward()
        adams[1].step()
        return loss

    return step


class UNet(nn.Module):
    """pix2pix's generator at 128 pixels, to logits of a tanh; dropout after its three innermost layers up."""

    def __init__(self, c: int = 64) -> None:
        super().__init__()
        widths = [3, c, 2 * c, 4 * c, 8 * c, 8 * c, 8 * c, 8 * c]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for i in range(7):
            act = [nn.LeakyReLU(0.2)] if i else []
            after = [norm(widths[i + 1])] if 0 < i < 6 else []
            self.down.append(nn.Sequential(*act, nn.Conv2d(widths[i], widths[i + 1], 4, 2, 1), *after))
        for i in reversed(range(7)):
            inp = widths[i + 1] * (1 if i == 6 else 2)
            after = [norm(widths[i]), *([Dropout()] if i >= 4 else [])] if i else []
            self.up.append(nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(inp, widths[i], 4, 2, 1), *after))

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for layer in self.down:
            x = layer(x)
            skips.append(x)
        skips.pop()
        for layer in self.up[:-1]:
            x = torch.cat([layer(x), skips.pop()], 1)
        return self.up[-1](x)


class Dropout(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rand(x.shape, device=x.device).ge_(0.5).mul_(2)


def pix2pix(generator: nn.Module, discriminator: nn.Module, how: How) -> Step:
    """Isola et al. (2017): a non-saturating loss, and 100 times the L1 distance. Returns the generator's loss."""
    generate, judge = how.place(generator), how.place(discriminator)
    adams = [how.adam(net, 2e-4, BETAS) for net in (generator, discriminator)]

    def step(pixels: Tensor) -> Tensor:
        pair = pixels.float().mul_(2 / 255).sub_(1).contiguous(memory_format=how.memory)
        x, y = pair.chunk(2, 1)
        for adam in adams:
            adam.zero_grad(set_to_none=True)
        with how.autocast():
            fake = generate(x).tanh()
            on_real, on_fake = judge(pair), judge(torch.cat([x, fake.detach()], 1))
        (0.5 * (softplus(-on_real.float()).mean() + softplus(on_fake.float()).mean())).backward()
        adams[1].step()
        discriminator.requires_grad_(False)
        with how.autocast():
            on_fake = judge(torch.cat([x, fake], 1))
        loss = softplus(-on_fake.float()).mean() + 100 * (y - fake.float()).abs().mean()
        loss.backward()
        discriminator.requires_grad_(True)
        adams[0].step()
        return loss

    return step
