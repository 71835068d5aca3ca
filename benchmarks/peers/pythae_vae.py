"""pythae's own VAE and trainer (github.com/clementchadebec/benchmark_VAE) on the floor's networks.

python -m benchmarks.peers.pythae_vae vae_mlp_mnist --images FILE.npy
"""

from __future__ import annotations

import tempfile
from typing import Any

from benchmarks import harness


def main() -> None:
    chosen = harness.given(harness.options("pythae's VAE and trainer.", ["vae_mlp_mnist", "vae_conv64"]))
    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    from benchmarks import nets

    class Encoder(BaseEncoder):
        def __init__(self, net: torch.nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: torch.Tensor) -> Any:
            mean, log_variance = self.net(x).chunk(2, 1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self, net: torch.nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, z: torch.Tensor) -> Any:
            return ModelOutput(reconstruction=self.net(z).sigmoid())

    mlp = chosen.workload == "vae_mlp_mnist"
    encoder, decoder = nets.mlp_vae() if mlp else nets.conv_vae()
    pixels = torch.from_numpy(harness.images(chosen)).float().div_(255)
    settings = VAEConfig(
        input_dim=tuple(pixels.shape[1:]), latent_dim=20 if mlp else 128, reconstruction_loss="bce" if mlp else "mse"
    )
    length = BaseTrainerConfig(
        output_dir=tempfile.mkdtemp(prefix="bench-pythae-"),
        num_epochs=1_000_000,
        learning_rate=1e-3,
        per_device_train_batch_size=chosen.batch,
        no_cuda=chosen.device == "cpu",
    )
    trainer = BaseTrainer(
        VAE(settings, Encoder(encoder), Decoder(decoder)),
        BaseDataset(pixels, torch.zeros(len(pixels))),
        training_config=length,
    )
    harness.count_steps("pythae", chosen, data_source="float32 in memory")
    trainer.train()


if __name__ == "__main__":
    main()
