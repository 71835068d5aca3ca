"""The workloads that are compared: data, batch sizes and spans. Other projects' drivers read this without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """`steps` are those that are timed on a CPU, and warm-up steps before them; `gpu_steps` those on a GPU."""

    data: str
    batch: int
    steps: tuple[int, int]
    gpu_steps: tuple[int, int] = (1000, 50)
    convolutional: bool = True
    columns: tuple[str, ...] = ("image",)  # of the data; several are side by side in a floor's batch


COMPARED = {  # with other projects too: a process for each entry (run.py)
    "vae_mlp_mnist": Workload("mnist", 128, (1000, 30), (5000, 50), convolutional=False),
    "vae_conv64": Workload("celeba", 64, (15, 3)),
    "dcgan64": Workload("celeba", 64, (10, 3)),
    "dcgan64_lsun": Workload("lsun", 64, (10, 3)),
    "vqvae32": Workload("celeba", 128, (30, 3)),
    "wgan_gp28": Workload("mnist", 64, (50, 5)),
}
FAMILIES = {  # with the floor only, inside one process (interleaved.py)
    "r3gan28": Workload("mnist", 64, (20, 3)),
    "bigan28": Workload("mnist", 64, (50, 5)),
    "progressive32": Workload("mnist", 64, (20, 3)),
    "flow_matching32": Workload("mnist", 64, (50, 5)),
    "ddpm32": Workload("mnist", 64, (50, 5)),
    "edm32": Workload("mnist", 64, (50, 5)),
    "meanflow32": Workload("mnist", 64, (50, 5)),
    "rbm_mnist": Workload("mnist", 128, (1000, 30), convolutional=False),
    "pcd_mnist": Workload("mnist", 128, (1000, 30), convolutional=False),
    "dbn_mnist": Workload("mnist", 128, (1000, 30), convolutional=False),
    "kmeans_mnist": Workload("mnist", 500, (100, 10), convolutional=False),
    "pca_mnist": Workload("mnist", 1000, (50, 5), convolutional=False),
    "pixelcnn_mnist": Workload("mnist", 16, (50, 5)),
    "made_mnist": Workload("mnist", 100, (200, 10), convolutional=False),
    "realnvp_mnist": Workload("mnist", 32, (50, 5)),
    "beta_tcvae64": Workload("celeba", 64, (20, 3)),
    "simclr28": Workload("mnist", 128, (20, 3)),
    "mae28": Workload("mnist", 128, (20, 3), convolutional=False),
    "cyclegan64": Workload("celeba", 1, (10, 3), columns=("a", "b")),
    "pix2pix128": Workload("celeba", 1, (10, 3), columns=("a", "b")),
}
WORKLOADS = COMPARED | FAMILIES
