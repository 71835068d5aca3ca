"""Toy data: the laws are those that were asked for; stacks are the digits that they say."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from sklearn.mixture import GaussianMixture

from genlab.cli.images.image_command import require
from genlab.config.compose import compose
from genlab.data.datasets.mnist import MNIST
from genlab.data.datasets.stacked import StackedMNIST
from genlab.data.datasets.synthetic.toy import Dirac, Grid, Ring
from genlab.distributed.runtime import Runtime
from genlab.errors import ConfigError
from genlab.models.gans.gan import GAN
from genlab.registry import discover
from genlab.workflows.build import LoadedRun, build_data, build_model
from tests.support import synthetic

CPU = torch.device("cpu")


def test_the_ring_is_eight_gaussians_on_a_circle() -> None:
    data = Ring().open(CPU)
    assert (data.shape, data.num_classes, data.resident, data.points) == ((2, 1, 1), 8, True, True)
    assert data.sizes() == {"train": 100_000, "valid": 10_000, "test": 10_000}
    points, mode = data.split("train").take(100_000, ("image", "label"))
    assert (points.dtype, points.shape) == (torch.float32, (100_000, 2, 1, 1))
    assert (mode.bincount(minlength=8) / 100_000 - 1 / 8).abs().max() < 0.005
    start = torch.tensor([[math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)] for k in range(8)])
    fitted = GaussianMixture(8, covariance_type="spherical", means_init=start.numpy()).fit(points.flatten(1).numpy())
    assert abs(fitted.means_ - start.numpy()).max() < 1e-3
    assert fitted.covariances_ == pytest.approx([1e-4] * 8, rel=0.05)
    assert (points.flatten(1) - start[mode]).norm(dim=1).max() < 0.06  # labels are the modes


def test_the_grid_is_twenty_five_gaussians_from_minus_four_to_four() -> None:
    data = Grid(n=20_000).open(CPU)
    points, mode = data.split("train").take(20_000, ("image", "label"))
    nearest = (points.flatten(1) / 2).round() * 2
    assert sorted(set(map(tuple, nearest.tolist()))) == [(x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)]
    assert (points.flatten(1) - nearest).std() == pytest.approx(0.05, rel=0.02)
    assert torch.equal(mode, ((nearest[:, 0] + 4) / 2 * 5 + (nearest[:, 1] + 4) / 2).long())


def test_all_dirac_points_are_zero() -> None:
    data = Dirac(n=50, valid=5, test=0).open(CPU)
    assert data.shape == (1, 1, 1)
    assert not data.split("train").take(50, ("image",))[0].any()


def test_split_seed_and_deviation_decide_the_points_and_splits_differ() -> None:
    a, again, other, wider = (
        Ring(split_seed=s, deviation=d).open(CPU) for s, d in ((0, 0.01), (0, 0.01), (1, 0.01), (0, 0.1))
    )
    first = [data.split("train").take(100, ("image",))[0] for data in (a, again, other)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])
    assert a.fingerprint == again.fingerprint
    assert len({a.fingerprint, other.fingerprint, wider.fingerprint}) == 3
    assert not torch.equal(first[0], a.split("valid").take(100, ("image",))[0])


def test_points_are_neither_prepared_nor_given_to_a_model_of_pictures() -> None:
    with pytest.raises(ConfigError, match="needs no preparation"):
        Ring().prepare()
    discover()
    runtime = Runtime(CPU, "fp32")
    for model in ("dcgan", "rbm", "aae", "vaegan", "vqvae", "kmeans"):
        settings = compose([f"model={model}", "dataset=ring", "dataset.n=10"]).config
        with pytest.raises(ConfigError, match=r"are points, not images.*use model"):
            build_model(settings, build_data(settings, runtime), runtime)
    for model in ("gan", "vae", "autoencoder", "linear_ae", "pca"):
        settings = compose(
            [f"model={model}", "dataset=ring", "dataset.n=10", *(["model.latent_dim=1"] * (model == "pca"))]
        )
        build_model(settings.config, build_data(settings.config, runtime), runtime)


@pytest.fixture
def stacked(tmp_path: Path) -> StackedMNIST:
    synthetic.mnist(tmp_path)
    return StackedMNIST(root=str(tmp_path), size=None, digits=4, n=40, valid=10, test=9)


def test_stacks_are_three_digits_of_their_split_and_spell_the_label(stacked: StackedMNIST) -> None:
    data = stacked.open(CPU)
    assert (data.shape, data.num_classes, data.points) == ((3, 28, 28), 1000, False)
    assert data.sizes() == {"train": 40, "valid": 10, "test": 9}
    assert data.label_names is not None
    assert data.label_names[42] == "042"
    assert isinstance(stacked.root, str)
    digits = MNIST(root=stacked.root, valid=4).open(CPU)
    for name in ("train", "valid", "test"):
        image, label = data.split(name).take(99, ("image", "label"))
        pixels, of = digits.split(name).take(99, ("image", "label"))
        known = {tuple(p.flatten().tolist()): int(n) for p, n in zip(pixels, of, strict=True)}
        spelled = [[known[tuple(channel.flatten().tolist())] for channel in stack] for stack in image]
        assert [100 * a + 10 * b + c for a, b, c in spelled] == label.tolist()


def test_stacks_are_drawn_by_split_seed_and_batched(stacked: StackedMNIST) -> None:
    assert isinstance(stacked.root, str)
    other = StackedMNIST(root=stacked.root, size=None, digits=4, n=40, valid=10, test=9, split_seed=1)
    a, b = stacked.open(CPU), other.open(CPU)
    assert a.fingerprint != b.fingerprint
    assert not torch.equal(a.split("test").take(9, ("label",))[0], b.split("test").take(9, ("label",))[0])
    image, label = a.batches(("image", "label"), 8).at(0)
    assert (image.shape, label.shape) == ((8, 3, 28, 28), (8,))
    assert StackedMNIST(root=stacked.root, size=None, digits=0, n=5).open(CPU).sizes()["valid"] == 0


def test_no_verb_draws_points_as_pictures(tmp_path: Path) -> None:
    shown = GAN((2, 1, 1), {"name": "mlp", "hidden": []}, {"name": "mlp", "hidden": []}, output="linear")
    record = {"data": {"name": "ring", "shape": [2, 1, 1]}}
    run = LoadedRun(tmp_path, shown, {"name": "gan"}, record, Runtime(CPU, "fp32"), 1, "raw", "")
    with pytest.raises(ConfigError, match="evaluator=points"):
        require(run, "Samples")
