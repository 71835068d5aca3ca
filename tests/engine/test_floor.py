"""The floor loops do genlab's work: the same networks, and from the same weights the same step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks import floor, images, synthetic
from benchmarks.floors.how import How
from benchmarks.workloads import WORKLOADS
from genlab.config import compose
from genlab.core import rng
from genlab.distributed.runtime import Runtime
from genlab.engine.trainer import Trainer
from genlab.models.autoregressive.made import MaskedLinear
from genlab.workflows.build import build_data, build_model, build_trainer, load_registry

# ours is a likelihood, whose constant for σ = 1 costs nothing
CONSTANT = {"vae_conv64", "vqvae32"}
LOSSES: dict[str, str | None] = {
    "dcgan64": "generator/loss",
    "dcgan64_lsun": "generator/loss",
    "wgan_gp28": "discriminator/loss",
    "r3gan28": "discriminator/loss",
    "bigan28": "discriminator/loss",
    "progressive32": "discriminator_32/loss",
    "kmeans_mnist": "centroids/loss",
    "cyclegan64": "generators/loss",
    "pix2pix128": "generator/loss",
    **dict.fromkeys(("rbm_mnist", "pcd_mnist", "dbn_mnist", "pca_mnist")),  # a loss without a meaning, or none
}
STEPS = {"kmeans_mnist": 4}  # of which two measure patches


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
        f"trainer.batch_size={min(4, WORKLOADS[workload].batch)}",
        "evaluator=none",
        *(["dataset.valid=4"] if WORKLOADS[workload].data != "celeba" else []),
        "trainer.precision=fp32",
        "trainer.channels_last=false",
    ]
    settings = compose.compose([f"workload={workload}", *few]).config
    compose.check(settings)
    runtime = Runtime(torch.device("cpu"))
    opened = build_data(settings, runtime)
    return build_trainer(settings, opened, build_model(settings, opened, runtime), runtime)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_one_step_is_equal(data: None, monkeypatch: pytest.MonkeyPatch, workload: str) -> None:
    trainer = trainer_of(workload)
    networks = floor.FLOORS[workload].networks()
    _shake(trainer.model)  # layers that are zero at first would hide what is behind them
    _copy(trainer.model, networks)
    before = _vector(trainer.model)
    step = floor.FLOORS[workload].loop(*networks, how=How())
    monkeypatch.setattr(rng, "seed", lambda *numbers: None)  # both draw from torch's one stream
    for number in range(STEPS.get(workload, 1)):
        batch = torch.cat(trainer.batches.at(number), 1)
        torch.manual_seed(number)
        ours = trainer.train_step()
        torch.manual_seed(number)
        theirs = step(255 * batch)  # not rounded: some inputs are made from images
    if workload in CONSTANT:
        theirs = theirs + 0.5 * batch[0].numel() * torch.log(torch.tensor(2 * torch.pi))
    if (loss := LOSSES.get(workload, "loss")) is not None:
        torch.testing.assert_close(ours[loss], theirs.detach(), rtol=1e-5, atol=1e-5)
    after, expected = _vector(trainer.model), _vector(*networks)
    # of a gradient that is nothing but rounding (biases before norms, of keys), Adam's first step is of either sign
    many = ("cyclegan64", "pix2pix128", "vae_conv64", "simclr28", "mae28")
    tolerance = 0.1 if workload in many else 0.01
    assert torch.dist(after, expected) < tolerance * torch.dist(after, before)


def _state(*modules: nn.Module) -> list[Tensor]:
    """The parameters or, of models that have none, the buffers."""
    parameters: list[Tensor] = [p.detach() for module in modules for p in module.parameters()]
    return parameters or [buffer for module in modules for buffer in module.buffers()]


def _vector(*modules: nn.Module) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in _state(*modules)])


def _shake(model: nn.Module) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        for layer in model.modules():
            if isinstance(layer, MaskedLinear):  # the floor's weights behind the mask are zero
                layer.weight.copy_(layer.masked(torch.tensor([0])))


def _copy(model: nn.Module, networks: tuple[nn.Module, ...]) -> None:
    for mine, other in zip(_state(model), _state(*networks), strict=True):
        other.copy_(mine)
    drawn = [buffer for net in networks for buffer in _drawn(net)]
    for mine, other in zip(_drawn(model), drawn, strict=True):
        other.copy_(mine)


def _drawn(module: nn.Module) -> list[Tensor]:
    """The buffers that are random at first."""
    names = "chains", "degrees_in", "degrees_out"
    return [buffer for name, buffer in module.named_buffers() if name.endswith(names) and len(buffer)]


def test_the_exported_images_are_those_of_training(data: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    monkeypatch.setattr(images, "CHUNK", 5)  # the last of them is not full
    exported = np.load(images.export("dcgan64_lsun"))
    assert exported.dtype == np.uint8
    assert exported.shape[1:] == (3, 64, 64)
    assert len(exported) > len(np.load(images.export("dcgan64_lsun", 4))) == 4
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
