"""A plain LightningModule over a TensorDataset, with Lightning's default loggers and checkpoints, on the floor's nets.

python -m benchmarks.peers.lightning_vae vae_mlp_mnist --images FILE.npy
"""

from __future__ import annotations

import tempfile
from typing import Any

from benchmarks import harness


def main() -> None:
    chosen = harness.given(harness.options("A plain LightningModule.", ["vae_mlp_mnist", "vae_conv64"]))
    import lightning
    import torch
    from torch.nn import functional as F
    from torch.utils.data import DataLoader, TensorDataset

    from benchmarks import nets

    mlp = chosen.workload == "vae_mlp_mnist"

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = nets.mlp_vae() if mlp else nets.conv_vae()

        def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
            [x] = batch
            mean, log_variance = self.encoder(x).chunk(2, 1)
            logits = self.decoder(mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean))
            if mlp:
                nll = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
            else:
                nll = 0.5 * F.mse_loss(logits.sigmoid(), x, reduction="sum")
            kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
            loss = (nll + kl) / len(x)
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    pixels = torch.from_numpy(harness.images(chosen)).float().div_(255)
    loader = DataLoader(TensorDataset(pixels), batch_size=chosen.batch, shuffle=True, drop_last=True)
    trainer = lightning.Trainer(
        max_epochs=-1,
        accelerator="cpu" if chosen.device == "cpu" else "gpu",
        devices=1,
        default_root_dir=tempfile.mkdtemp(prefix="bench-lightning-"),
    )
    harness.count_steps("lightning", chosen, data_source="float32 in memory")
    trainer.fit(Module(), loader)


if __name__ == "__main__":
    main()
