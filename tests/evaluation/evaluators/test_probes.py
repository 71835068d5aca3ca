"""Reconstruction, subspace, filters, probe and nearest neighbors, on models whose every number is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.model import Model
from genlab.core.values import Image
from genlab.data.loader import Data, Split
from genlab.data.store.table import Table
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.image_grids import Filters
from genlab.evaluation.evaluators.latent.features import labeled
from genlab.evaluation.evaluators.latent.maps import TSNEMap
from genlab.evaluation.evaluators.latent.probe import NearestNeighbors, Probe
from genlab.evaluation.evaluators.reconstruction.reconstruction import Reconstruction, Subspace, largest_angle
from genlab.models.classical.pca import PCA
from genlab.reports.grid import image_grid
from tests.support.evaluated import MemorySplit, Shrinker

SIZES = {"train": 1000, "valid": 300, "test": 497}


@pytest.fixture(scope="module")
def digits() -> Callable[[str], Split]:
    """Splits of the 1,797 digits, 8x8, in their order."""
    images, labels = load_digits(return_X_y=True)
    columns: Any = {
        "image": torch.from_numpy(images * (255 / 16)).round().to(torch.uint8).reshape(-1, 1, 8, 8),
        "label": torch.from_numpy(labels),
    }
    rows = dict(zip(SIZES, torch.arange(1797).split(list(SIZES.values())), strict=True))
    table = Table("digits", columns, torch.device("cpu"), resident=True)
    return Data(table, rows, [str(i) for i in range(10)], "", 0, False).split


class Pixels(Model):
    """The code is the image, turned and moved, which a standardising probe does not mind; images come back halved."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((), 3.0))

    def encode(self, image: Tensor) -> Tensor:
        return image.flatten(1).flip(1) * self.scale.detach() + 7

    def reconstruct(self, image: Tensor) -> Tensor:
        return image / 2


class Linear(Model):
    """A linear autoencoder with a given orthonormal basis (D, k) and mean (D,)."""

    def __init__(self, basis: Tensor, mean: Tensor) -> None:
        super().__init__()
        pixels, k = basis.shape
        mix = torch.eye(k) + 0.2 * torch.ones(k, k)  # neither orthogonal nor ordered, as learned weights are
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, k))
        self.decoder = nn.Sequential(nn.Linear(k, pixels), nn.Unflatten(1, (1, 8, 8)))
        with torch.no_grad():
            self.encoder[1].weight.copy_(mix @ basis.T)
            self.encoder[1].bias.copy_(-mix @ basis.T @ mean)
            self.decoder[0].weight.copy_(basis @ mix.inverse())
            self.decoder[0].bias.copy_(mean)

    def encode(self, image: Tensor) -> Tensor:
        return self.encoder(image)


def found(evaluator: Any, model: Model, split: Any) -> dict[str, Any]:
    rng.seed(0)
    with torch.no_grad():
        return {
            name: value if isinstance(value, Image) else float(value) for name, value in evaluator.run(model, split)
        }


def pixels(split: Split) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    image, label = split.take(len(split), ("image", "label"))
    return image.flatten(1).numpy(), label.numpy()


def pca_of(split: Split, k: int) -> PCA:
    model = PCA((1, 8, 8), k)
    model.update(split.take(len(split), ("image",))[0])
    return model


# ---------------------------------------------------------------------- reconstruction


@pytest.mark.parametrize("batch_size", [3, 99])
def test_errors_are_means_over_images(images: Tensor, batch_size: int) -> None:
    values = found(Reconstruction(batch_size), Shrinker(), MemorySplit(images))
    squares = (1 - 2 * images).double().square().flatten(1)
    assert values["squared_error"] == pytest.approx(squares.sum(1).mean().item())
    assert values["pixel_error"] == pytest.approx(squares.mean().item())
    assert values["psnr"] == pytest.approx((-10 * squares.mean(1).log10()).mean().item())
    assert set(values) == {"squared_error", "pixel_error", "psnr"}


def test_a_perfect_reconstruction_has_a_finite_psnr(images: Tensor) -> None:
    model = Shrinker()
    model.reconstruct = lambda image: image  # type: ignore[method-assign]
    assert found(Reconstruction(), model, MemorySplit(images))["psnr"] == pytest.approx(100)


def test_the_baseline_is_pca_of_the_training_images_at_the_codes_length(digits: Callable[[str], Split]) -> None:
    class Three(Pixels):
        def encode(self, image: Tensor) -> Tensor:
            return image.flatten(1)[:, :3]

    test = digits("test")
    values = found(Reconstruction(pca=True), Three(), test)
    (image,) = test.take(len(test), ("image",))
    back = pca_of(digits("train"), 3).reconstruct(image)
    assert values["pca_squared_error"] == pytest.approx((back - image).square().sum((1, 2, 3)).mean().item(), rel=1e-5)
    assert values["squared_error"] == pytest.approx((image / 2).square().sum((1, 2, 3)).mean().item(), rel=1e-5)


# ---------------------------------------------------------------------- subspace


def test_pcas_own_plane_is_at_no_angle_in_whatever_basis(digits: Callable[[str], Split]) -> None:
    train = digits("train")
    pca = pca_of(train, 5)
    values = found(Subspace(), Linear(pca.basis().T, pca.mean()), train)
    assert values["largest_angle"] < 0.01
    assert values["excess"] == pytest.approx(0, abs=1e-5)
    assert values["squared_error"] == pytest.approx(pca.moments.eigen()[0][5:].sum().item(), rel=1e-4)


def test_a_turned_plane_is_found_at_its_angle_and_costs_what_it_must(digits: Callable[[str], Split]) -> None:
    train, angle = digits("train"), np.radians(10)
    pca = pca_of(train, 5)
    variances, vectors = pca.moments.eigen()
    basis = vectors[:, :5].clone()
    basis[:, 2] = np.cos(angle) * vectors[:, 2] + np.sin(angle) * vectors[:, 30]  # toward the 31st component
    values = found(Subspace(), Linear(basis.float(), pca.mean()), train)
    assert values["largest_angle"] == pytest.approx(10, abs=0.01)
    lost = np.sin(angle) ** 2 * (variances[2] - variances[30])
    assert values["excess"] == pytest.approx((lost / variances[5:].sum()).item(), rel=1e-3)


def test_small_angles_are_not_lost_in_rounding() -> None:
    one = torch.eye(4, 2, dtype=torch.float64)
    other = one.clone()
    other[2, 1] = 1e-9
    assert largest_angle(one, other).item() == pytest.approx(np.degrees(1e-9), rel=1e-6)
    assert largest_angle(one, one.flip(0)).item() == pytest.approx(90)


def test_a_decoder_that_is_not_linear_is_refused(digits: Callable[[str], Split]) -> None:
    pca = pca_of(digits("train"), 5)
    model = Linear(pca.basis().T, pca.mean())
    model.decoder.append(nn.Sigmoid())
    with pytest.raises(ConfigError, match="not linear"):
        found(Subspace(), model, digits("test"))


def test_a_subspace_is_of_codes_of_images_alone(digits: Callable[[str], Split]) -> None:
    pca = pca_of(digits("train"), 5)
    model = Linear(pca.basis().T, pca.mean())
    assert Subspace().applies(model)
    model.conditions = ("label",)  # type: ignore[misc]
    assert not Subspace().applies(model)


# ---------------------------------------------------------------------- probe and neighbors


def test_the_probe_is_scikit_learns_at_the_strength_that_validation_chooses(digits: Callable[[str], Split]) -> None:
    values = found(Probe(regularization=[1e-5, 0.1], iterations=1000), Pixels(), digits("test"))
    (x, y), (valid_x, valid_y), (test_x, test_y) = (pixels(digits(name)) for name in SIZES)
    scale = StandardScaler().fit(x).transform
    fits = {c: LogisticRegression(C=c, max_iter=1000).fit(scale(x), y) for c in (1e-5, 0.1)}
    best = max(fits, key=lambda c: fits[c].score(scale(valid_x), valid_y))
    assert values["C"] == best == 0.1
    assert values["fitted"] == 1
    assert values["accuracy"] == pytest.approx(fits[best].score(scale(test_x), test_y), abs=0.005)
    assert values["accuracy"] + values["error"] == pytest.approx(1)
    assert found(Probe(features="pixels", regularization=[0.1]), Shrinker(), digits("test"))["accuracy"] > 0.85


def test_the_probe_never_chooses_by_the_split_that_it_measures(digits: Callable[[str], Split]) -> None:
    kept = {name: found(Probe(), Pixels(), digits(name))["C"] for name in ("test", "train")}
    assert kept["test"] == kept["train"]  # training images alone would ask for the weakest regularisation


def test_labels_are_balanced_and_fixed_by_the_seed() -> None:
    label = np.array([0] * 50 + [1] * 9 + [5] * 30)
    split = labels_alone(label)

    def draw(seed: int, count: int) -> list[int]:
        rng.seed(seed)
        return labeled(split, count).indices.tolist()

    for count, shares in ((9, [3, 3, 3]), (10, [3, 3, 4]), (27, [9, 9, 9])):
        assert sorted(np.unique(label[draw(0, count)], return_counts=True)[1].tolist()) == shares
    assert len(set(draw(0, 27))) == 27
    assert draw(0, 9) == draw(0, 9) != draw(1, 9)
    for count in (30, 1):
        with pytest.raises(ConfigError, match=r"key num_labels; 3 classes.*from 3 to 27"):
            draw(0, count)


def labels_alone(label: np.ndarray[Any, Any]) -> Split:
    columns: Any = {"image": torch.zeros(len(label), 1, 8, 8, dtype=torch.uint8), "label": torch.from_numpy(label)}
    table = Table("labels", columns, torch.device("cpu"), resident=True)
    return Data(table, {name: torch.arange(len(label)) for name in SIZES}, [], "", 0, False).split("train")


@pytest.mark.parametrize("evaluator", [Probe(), NearestNeighbors()])
def test_one_class_leaves_nothing_to_tell_apart(evaluator: Any) -> None:
    with pytest.raises(ConfigError, match=r"every image of the train split is of class 3.*dataset.classes"):
        found(evaluator, Pixels(), labels_alone(np.full(9, 3)))


def test_codes_that_hold_the_label_are_not_probed() -> None:
    model = Pixels()
    model.conditions = ("label",)  # type: ignore[misc]
    assert not any(evaluator.applies(model) for evaluator in (Probe(), NearestNeighbors(), TSNEMap()))
    assert Probe(features="pixels").applies(model)


def test_fewer_labels_know_less(digits: Callable[[str], Split]) -> None:
    few = found(Probe(num_labels=20), Pixels(), digits("test"))["accuracy"]
    assert 0.4 < few < found(Probe(), Pixels(), digits("test"))["accuracy"] - 0.05


@pytest.mark.parametrize("k", [1, 3])
def test_neighbors_vote_as_brute_force_does(digits: Callable[[str], Split], k: int) -> None:
    values = found(NearestNeighbors(k=k), Pixels(), digits("test"))
    (x, y), (test_x, test_y) = pixels(digits("train")), pixels(digits("test"))
    scale = StandardScaler().fit(x).transform
    nearest = torch.cdist(torch.from_numpy(scale(test_x)), torch.from_numpy(scale(x))).topk(k, largest=False).indices
    votes = torch.from_numpy(y)[nearest].mode(1).values.numpy()
    assert values["accuracy"] == pytest.approx((votes == test_y).mean(), abs=1e-3)


def test_attributes_are_no_classes(images: Tensor) -> None:
    columns: Any = {"image": (images * 255).to(torch.uint8), "label": torch.ones(10, 40)}
    table = Table("faces", columns, torch.device("cpu"), resident=True)
    data = Data(table, {name: torch.arange(10) for name in SIZES}, ["smiling"], "", 0, False)
    with pytest.raises(ConfigError, match="several attributes"):
        found(NearestNeighbors(), Shrinker(), data.split("test"))


def test_filters_are_scaled_one_by_one_around_gray() -> None:
    class Two(Model):
        def filters(self) -> Tensor:
            return torch.tensor([[[[2.0, -1.0]]], [[[0.0, -0.01]]], [[[5.0, 5.0]]]])

    values = found(Filters(n=2), Two(), None)
    expected = image_grid(torch.tensor([[[[1.0, 0.25]]], [[[0.5, 0.0]]]]))
    assert torch.equal(values["filters"].pixels, expected.pixels)
    assert not Filters().applies(Shrinker())
