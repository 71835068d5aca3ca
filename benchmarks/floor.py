"""The floor: the leanest plain PyTorch loop for each workload. genlab's speed is given relative to it.

    python -m benchmarks.floor vae_mlp_mnist --precision bf16
    python -m benchmarks.floor dcgan64 --layout nhwc --steps 20

Images are on the device as uint8; a batch is one gather and one scaling. Nothing is read back, logged or saved. Adam
is fused. A GAN's fakes are generated once for both networks, and its discriminator gets no weight gradients during the
generator update. On CUDA, --graph captures the whole step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks import harness, nets
from benchmarks.floors import classical, diffusion, gan, likelihood, progressive, representations, translation, vae
from benchmarks.floors.classical import Boltzmann, Centroids, Sums
from benchmarks.floors.how import How, Step
from benchmarks.floors.translation import patchgan, translator
from benchmarks.floors.unet import UNet
from genlab.workflows.stopwatch import Stopwatch


@dataclass(frozen=True)
class Floor:
    """The networks of a workload, in genlab's order of parameters, and the loop that trains them."""

    networks: Callable[[], tuple[nn.Module, ...]]
    loop: Callable[..., Step]  # of the networks and `how`


FLOORS = {
    "vae_mlp_mnist": Floor(nets.mlp_vae, partial(vae.vae, nll=vae.BernoulliNLL.apply)),
    "vae_conv64": Floor(nets.conv_vae, partial(vae.vae, nll=vae.half_squared_error)),
    "vqvae32": Floor(nets.vqvae, vae.vqvae),
    "dcgan64": Floor(nets.dcgan, gan.gan),
    "dcgan64_lsun": Floor(nets.dcgan, gan.gan),
    "wgan_gp28": Floor(nets.wgan_gp, gan.wgan_gp),
    "r3gan28": Floor(nets.r3gan, gan.r3gan),
    "bigan28": Floor(nets.bigan, gan.bigan),
    "progressive32": Floor(lambda: (progressive.Generator(), progressive.Critic()), progressive.progressive),
    "flow_matching32": Floor(lambda: (UNet(),), diffusion.flow_matching),
    "ddpm32": Floor(lambda: (UNet(),), diffusion.ddpm),
    "edm32": Floor(lambda: (UNet(time_scale=1),), diffusion.edm),
    "rbm_mnist": Floor(lambda: (Boltzmann(),), classical.boltzmann),
    "pcd_mnist": Floor(lambda: (Boltzmann(chains=100),), classical.boltzmann),
    "dbn_mnist": Floor(lambda: (Boltzmann(), Boltzmann(500, 500, chains=100)), classical.boltzmann),
    "kmeans_mnist": Floor(lambda: (Centroids(),), classical.kmeans),
    "pca_mnist": Floor(lambda: (Sums(),), classical.pca),
    "pixelcnn_mnist": Floor(lambda: (likelihood.PixelCNN(),), likelihood.pixelcnn),
    "made_mnist": Floor(lambda: (likelihood.MADE(),), likelihood.made),
    "cyclegan64": Floor(
        lambda: (*(translator() for _ in range(2)), *(patchgan(3) for _ in range(2))), translation.cyclegan
    ),
    "pix2pix128": Floor(lambda: (translation.UNet(), patchgan(6)), translation.pix2pix),
    "realnvp_mnist": Floor(lambda: (likelihood.RealNVP(),), likelihood.realnvp),
    "meanflow32": Floor(lambda: (UNet(time_scale=1, times=2),), diffusion.meanflow),
    "beta_tcvae64": Floor(representations.small_vae, representations.beta_tcvae),
    "simclr28": Floor(representations.simclr_networks, representations.simclr),
    "mae28": Floor(lambda: (representations.MAE(),), representations.mae),
}


def build(workload: str, how: How) -> tuple[Step, int]:
    """The workload's step and its number of parameters."""
    floor = FLOORS[workload]
    networks = floor.networks()
    return floor.loop(*networks, how=how), sum(p.numel() for net in networks for p in net.parameters())


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
    parser = harness.options("The leanest loop for a workload.", list(FLOORS))
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
