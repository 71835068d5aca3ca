"""The floor: the leanest plain PyTorch loop for each workload. genlab's speed is given relative to it.

    python -m benchmarks.floor vae_mlp_mnist --precision bf16
    python -m benchmarks.floor dcgan64 --layout nhwc --steps 20

Images are on the device as uint8; a batch is one gather and one scaling. Nothing is read back, logged or saved. Adam
is fused. A GAN's fakes are generated once for both networks, and its discriminator gets no weight gradients during the
generator update. On CUDA, --graph captures the whole step.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from benchmarks import harness, nets
from genlab.workflows.stopwatch import Stopwatch

Step = Callable[[Tensor], Tensor]  # takes a uint8 batch (N, C, H, W), updates the weights, returns a loss


@dataclass(frozen=True)
class How:
    """Device, precision and memory layout of tensors."""

    device: str = "cpu"
    precision: str = "fp32"
    layout: str = "nchw"
    compiled: bool = False
    graph: bool = False

    @property
    def memory(self) -> torch.memory_format:
        return torch.channels_last if self.layout == "nhwc" else torch.contiguous_format

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device, torch.bfloat16)

    def place(self, net: nn.Module) -> nn.Module:
        net = net.to(self.device, memory_format=self.memory)
        return torch.compile(net) if self.compiled else net

    def adam(self, net: nn.Module, lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> torch.optim.Adam:
        return torch.optim.Adam(net.parameters(), lr=lr, betas=betas, fused=True, capturable=self.graph)


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


def vae(encoder: nn.Module, decoder: nn.Module, nll: Callable[[Tensor, Tensor], Tensor], how: How) -> Step:
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


def build(workload: str, how: How) -> tuple[Step, int]:
    """The workload's step and its number of parameters."""
    if workload == "vqvae32":
        triple = nets.vqvae()
        return vqvae(*triple, how), sum(p.numel() for net in triple for p in net.parameters())
    if workload == "wgan_gp28":
        players = nets.wgan_gp()
        return wgan_gp(*players, how), sum(p.numel() for net in players for p in net.parameters())
    pair = {"vae_mlp_mnist": nets.mlp_vae, "vae_conv64": nets.conv_vae}.get(workload, nets.dcgan)()
    count = sum(p.numel() for net in pair for p in net.parameters())
    if workload.startswith("vae"):
        return vae(*pair, BernoulliNLL.apply if workload == "vae_mlp_mnist" else half_squared_error, how), count
    return gan(*pair, how), count


def batches(images: Tensor, size: int) -> Iterator[Tensor]:
    while True:
        order = torch.randperm(len(images), device=images.device)
        for rows in order.split(size):
            if len(rows) == size:
                yield images.index_select(0, rows)


def captured(step: Step, example: Tensor) -> Step:
    """The step as one CUDA graph with a fixed input buffer."""
    held, side = example.clone(), torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # create buffers and optimizer state before the capture
        for _ in range(4):
            step(held)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step(held)

    def replay(pixels: Tensor) -> Tensor:
        held.copy_(pixels)
        graph.replay()
        return loss

    return replay


def main() -> None:
    parser = harness.options("The leanest loop for a workload.", list(harness.BATCH))
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--layout", default="nchw", choices=["nchw", "nhwc"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--graph", action="store_true", help="CUDA: the whole step as one graph")
    chosen = harness.given(parser)
    if chosen.graph and chosen.workload == "wgan_gp28":
        parser.error("wgan_gp28 has two kinds of step, and --graph records one")
    how = How(chosen.device, chosen.precision, chosen.layout, chosen.compile, chosen.graph)
    torch.manual_seed(0)
    pixels = torch.from_numpy(harness.images(chosen)).to(how.device)
    step, params = build(chosen.workload, how)
    stream = batches(pixels, chosen.batch)
    if how.graph:
        step = captured(step, next(stream))
    watch = Stopwatch(chosen.warmup, chosen.steps)
    for done, batch in enumerate(stream, 1):
        step(batch)
        if watch(done):
            break
    harness.report("floor", chosen, params, watch, precision=how.precision, layout=how.layout, compile=how.compiled,
                   data_source="memory")  # fmt: skip


if __name__ == "__main__":
    main()
