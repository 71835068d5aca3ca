"""The floor loops do genlab's work: the same networks, and from the same weights the same step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import floor, images, nets, synthetic
from genlab.config import compose
from genlab.core import rng
from genlab.distributed.runtime import Runtime
from genlab.engine.trainer import Trainer
from genlab.registry import MODELS
from genlab.workflows.build import build_data, build_model, build_trainer, load_registry

COUNTS = {"vae_mlp_mnist": 652_824, "vae_conv64": 3_937_635, "dcgan64": 6_342_272, "dcgan64_lsun": 6_342_272,
          "vqvae32": 695_491, "wgan_gp28": 898_176}  # fmt: skip


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic.mnist(tmp_path, 60, 10)
    synthetic.celeba(tmp_path, 20)
    synthetic.lsun(tmp_path, 12, 3)
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path))


def trainer_of(workload: str) -> Trainer:
    load_registry()
    # one layout for both: the other rounds otherwise, and Adam's first step is ±lr however small a gradient is
    few = [
        "trainer.batch_size=4",
        "evaluator=none",
        "dataset.valid=4",
        "trainer.precision=fp32",
        "trainer.channels_last=false",
    ]
    settings = compose.compose([f"workload={workload}", *few]).config
    compose.check(settings)
    runtime = Runtime(torch.device("cpu"))
    opened = build_data(settings, runtime)
    return build_trainer(settings, opened, build_model(settings, opened, runtime), runtime)


@pytest.mark.parametrize("workload", COUNTS)
def test_parameters(workload: str) -> None:
    load_registry()
    settings = compose.compose([f"workload={workload}"]).config
    shape = {"vae_mlp_mnist": (1, 28, 28), "vqvae32": (3, 32, 32), "wgan_gp28": (1, 28, 28)}.get(workload, (3, 64, 64))
    model = MODELS.build(settings["model"], "model", image_shape=shape, num_classes=10)
    assert sum(p.numel() for p in model.parameters()) == COUNTS[workload]
    assert floor.build(workload, floor.How())[1] == COUNTS[workload]


@pytest.mark.parametrize(
    ("workload", "pair", "nll"),
    [
        ("vae_mlp_mnist", nets.mlp_vae, floor.BernoulliNLL.apply),
        ("vae_conv64", nets.conv_vae, floor.half_squared_error),
        ("dcgan64", nets.dcgan, None),
        ("vqvae32", nets.vqvae, None),
        ("wgan_gp28", nets.wgan_gp, None),
    ],
)
def test_one_step_is_equal(data: None, monkeypatch: pytest.MonkeyPatch, workload: str, pair, nll) -> None:
    trainer = trainer_of(workload)
    networks = pair()
    _copy(trainer.model, networks)
    loop = {"dcgan64": floor.gan, "vqvae32": floor.vqvae, "wgan_gp28": floor.wgan_gp}.get(workload)
    step = loop(*networks, floor.How()) if loop else floor.vae(*networks, nll, floor.How())
    [batch] = trainer.batches.at(0)
    monkeypatch.setattr(rng, "seed", lambda *numbers: None)  # both draw from torch's one stream
    torch.manual_seed(1)
    ours = trainer.train_step()
    torch.manual_seed(1)
    theirs = step((batch * 255).round().to(torch.uint8))
    if workload in ("vae_conv64", "vqvae32"):  # ours is a likelihood: its constant for σ = 1 is no work
        theirs = theirs + 0.5 * batch[0].numel() * torch.log(torch.tensor(2 * torch.pi))
    name = {"dcgan64": "generator/loss", "wgan_gp28": "discriminator/loss"}.get(workload, "loss")
    torch.testing.assert_close(ours[name], theirs.detach(), rtol=1e-5, atol=1e-5)
    theirs_now = [p for net in networks for p in net.parameters()]
    for mine, other in zip(trainer.model.parameters(), theirs_now, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-5)


def _copy(model: nn.Module, networks: tuple[nn.Module, ...]) -> None:
    with torch.no_grad():
        into = [p for net in networks for p in net.parameters()]
        for mine, other in zip(model.parameters(), into, strict=True):
            other.copy_(mine)


def test_the_exported_images_are_those_of_training(data: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    monkeypatch.setattr(images, "CHUNK", 5)  # the last of them is not full
    exported = np.load(images.export("dcgan64_lsun"))
    assert exported.dtype == np.uint8
    assert exported.shape[1:] == (3, 64, 64)
    monkeypatch.setattr(images, "LIMIT", 4)
    assert len(exported) > len(np.load(images.export("dcgan64_lsun"))) == 4
    [batch] = trainer_of("dcgan64_lsun").batches.at(0)
    rows = {row.tobytes() for row in exported}
    assert all((image * 255).round().to(torch.uint8).numpy().tobytes() in rows for image in batch)


def test_synthetic_sets_are_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        synthetic.mnist(tmp_path / name, 30, 10)
        synthetic.celeba(tmp_path / name, 3)
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(files) == 4 + 3 + 2
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)
