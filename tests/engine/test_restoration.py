"""Denoising and inpainting as they are measured: against numpy, and with models whose answer is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.model import Model
from genlab.core.values import Diagnosis, Image
from genlab.errors import ConfigError
from genlab.evaluation.corrupted import Corrupted
from genlab.evaluation.evaluators.reconstruction.restoration import best_count, projection
from genlab.models.classical.pca import PCA
from genlab.models.diffusion.ddpm import DDPM
from genlab.models.flows.flow_matching import FlowMatching
from genlab.nn.augment.corruptions import GRAY
from genlab.registry import EVALUATORS, discover
from tests.support.fields import known


class Stub(Model):
    """Leaves images as they are; its code is `length` numbers."""

    def __init__(self, length: int, answer: float | None = None) -> None:
        super().__init__()
        self.length, self.answer = length, answer

    def encode(self, image: Tensor) -> Tensor:
        return image.flatten(1)[:, : self.length]

    def reconstruct(self, image: Tensor) -> Tensor:
        return image if self.answer is None else torch.full_like(image, self.answer)


def split(images: Tensor) -> Any:
    rows = SimpleNamespace(take=lambda n, columns: (images[:n],), points=images.shape[2:] == (1, 1))
    rows.batches = lambda columns, size: [(images,)]
    rows.sibling = lambda name: rows
    return rows


def measured(name: str, model: Model, images: Tensor, **keys: Any) -> tuple[dict[str, float], Image]:
    discover()
    rng.seed(0)
    values = dict(EVALUATORS.build({"name": name, **keys}).run(model, split(images)))
    picture = values.pop("restored")
    assert isinstance(picture, Image)
    return {key: float(value) for key, value in values.items()}, picture


def test_a_model_that_does_nothing_restores_nothing() -> None:
    images = torch.rand(300, 1, 12, 12) * 0.2 + 0.4  # far from 0 and 1: nothing is cut off; more than one batch
    found, picture = measured("denoise", Stub(144), images, amounts=[0.05, 0.1], columns=4)
    assert found["psnr/noisy/0.1"] == pytest.approx(20, abs=0.1)  # −10 log₁₀ σ²
    assert found["psnr/noisy/0.05"] == pytest.approx(26.02, abs=0.1)
    for key in found:
        assert found[key] == pytest.approx(found[key.replace("restored", "noisy")])
    assert found["psnr/pca/0.1"] == pytest.approx(found["psnr/noisy/0.1"], abs=1e-2)  # all components: the identity
    height = picture.pixels.shape[1]
    assert height == 2 + 6 * (12 * 5 + 2)  # clean, noisy, restored, for each of two levels


def test_no_level_is_no_measurement() -> None:
    for name, key in (("denoise", "amounts"), ("inpaint", "boxes")):
        with pytest.raises(ConfigError, match=f"bad value .* for '.*{key}'"):
            measured(name, Stub(4), torch.rand(4, 1, 8, 8), **{key: []})


def test_pca_keeps_what_lies_along_the_components() -> None:
    generator = np.random.default_rng(0)
    train = (0.5 + 0.05 * generator.standard_normal((200, 3)) @ generator.standard_normal((3, 25))).astype(np.float32)
    mean = train.mean(0)
    _, _, rows = np.linalg.svd(train - mean, full_matrices=False)
    other = generator.random((10, 25)).astype(np.float32)
    expected = mean + (other - mean) @ rows[:3].T @ rows[:3]
    pca = PCA((1, 5, 5), 25)
    pca.update(torch.from_numpy(train).view(200, 1, 5, 5))
    found = projection(pca, 3)(torch.from_numpy(other).view(10, 1, 5, 5))
    np.testing.assert_allclose(found.flatten(1).numpy(), expected.clip(0, 1), atol=1e-4)


def test_the_best_number_of_components_keeps_the_images_and_not_the_noise() -> None:
    """Four components hold the images: with fewer some of them is lost, with more only noise is added."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(500, 4, generator=generator) * 0.1
    basis = torch.linalg.qr(torch.randn(36, 36, generator=generator)).Q[:, :4]
    images = (0.5 + scores @ basis.T).view(500, 1, 6, 6)
    pca = PCA((1, 6, 6), 36)
    pca.update(images)
    noisy = images + 0.02 * torch.randn(images.shape, generator=generator)
    assert best_count(pca, images, Corrupted(noisy)) == 4
    assert best_count(pca, images, Corrupted(images)) >= 4
    found, _ = measured("denoise", Stub(36), images, amounts=[0.02])
    assert found["components/pca_best/0.02"] == 4
    assert found["psnr/pca_best/0.02"] > found["psnr/pca/0.02"] + 5  # of 36 components 32 hold noise alone


def test_only_the_box_is_taken_from_the_restoration() -> None:
    images = 1e-4 * torch.rand(40, 1, 8, 8)
    found, _ = measured("inpaint", Stub(4, answer=0.1), images, boxes=[0.5])
    share = 16 / 64
    assert found["psnr/masked/0.5"] == pytest.approx(-10 * np.log10(GRAY**2 * share), abs=0.01)
    assert found["psnr/restored/0.5"] == pytest.approx(-10 * np.log10(0.1**2 * share), abs=0.01)
    assert found["psnr/pca/0.5"] > found["psnr/masked/0.5"] + 10  # the mean image is nearly the image


def test_a_model_without_codes_is_not_compared_with_pca() -> None:
    class Coder(Model):
        def reconstruct(self, image: Tensor) -> Tensor:
            return image

    found, _ = measured("denoise", Coder(), torch.rand(9, 3, 8, 8), amounts=[0.1])
    assert not [key for key in found if "pca" in key]


@pytest.mark.parametrize(
    ("trained", "evaluator", "wanted"),
    [("gaussian", "inpaint", "box"), ("box", "inpaint", None), ("box", "denoise", "gaussian"), (None, "inpaint", None)],
)
def test_a_model_of_another_corruption_is_told_which_one_it_needs(
    trained: str | None, evaluator: str, wanted: str | None
) -> None:
    discover()
    model = Stub(4)
    model.corruption = trained  # type: ignore[assignment]
    values = dict(EVALUATORS.build({"name": evaluator}).run(model, split(torch.rand(9, 1, 8, 8))))
    said = values.get("untrained_corruption")
    assert (said is not None) == (wanted is not None)
    if isinstance(said, Diagnosis):
        assert said.sentence.endswith(f"not on {wanted}: use model.corruption.name={wanted}")


class Told(Model):
    """Is told how noisy images are, and which pixels are unknown; `darker` is an option of its own."""

    def denoise(self, image: Tensor, sigma: float, darker: float = 0.0) -> tuple[Tensor, Tensor]:
        return torch.full_like(image, sigma), torch.full_like(image, 2 * sigma - darker)

    def inpaint(self, image: Tensor, mask: Tensor, shade: float = 0.5) -> Tensor:
        return torch.where(mask, torch.full_like(image, shade), image)


def test_a_model_that_is_told_the_noise_is_scored_by_its_mean_and_by_its_sample() -> None:
    images = torch.full((9, 1, 8, 8), 0.5)
    found, picture = measured("denoise", Told(), images, amounts=[0.1, 0.3], columns=3, sampling={"darker": 0.05})
    for sigma in (0.1, 0.3):
        assert found[f"psnr/restored/{sigma}"] == pytest.approx(-20 * np.log10(0.5 - sigma), abs=1e-3)
        assert found[f"psnr/sampled/{sigma}"] == pytest.approx(-20 * np.log10(abs(0.45 + 0.1 - 2 * sigma)), abs=1e-3)
    assert picture.pixels.shape[1] == 2 + 2 * 4 * (8 * 8 + 2)  # clean, noisy, mean and sample, for each of two levels


def test_a_model_that_is_told_what_is_unknown_fills_it_in() -> None:
    images = torch.full((9, 1, 8, 8), 0.5)
    found, _ = measured("inpaint", Told(), images, boxes=[0.5], sampling={"shade": 0.6})
    assert found["psnr/restored/0.5"] == pytest.approx(-10 * np.log10(0.1**2 / 4), abs=0.01)


@pytest.mark.parametrize(
    ("name", "keys", "said"),
    [
        ("denoise", {"corruption": "salt_pepper"}, "removes only Gaussian noise; .*corruption=salt_pepper; use"),
        ("denoise", {"sampling": {"shade": 0.5}}, "unknown key 'evaluator.sampling.shade'"),
        ("inpaint", {"sampling": {"darker": 0.5}}, "unknown key 'evaluator.sampling.darker'"),
    ],
)
def test_what_a_model_cannot_be_told_is_refused_before_training(name: str, keys: dict[str, Any], said: str) -> None:
    discover()
    evaluator = EVALUATORS.build({"name": name, **keys})
    assert evaluator.applies(Told())
    with pytest.raises(ConfigError, match=said):
        evaluator.check(Told(), split(torch.rand(4, 1, 8, 8)))


@pytest.mark.parametrize("name", ["denoise", "inpaint"])
def test_points_are_refused_before_training(name: str) -> None:
    discover()
    with pytest.raises(ConfigError, match=f"points have no pixels to restore; key evaluator.{name}; leave it out"):
        EVALUATORS.build({"name": name}, key=f"evaluator.{name}").check(
            known(FlowMatching), split(torch.rand(4, 2, 1, 1))
        )


@pytest.mark.parametrize("name", ["denoise", "inpaint"])
@pytest.mark.parametrize(
    ("trained", "sampling", "said"),
    [
        ({}, {"guidance": 2}, "evaluator.x.sampling: guidance needs a class; key guidance"),
        ({"label_dropout": 0.0}, {}, "evaluator.x.sampling: restoration without a label needs .*label_dropout"),
        ({}, {"label": 3}, "evaluator.x.sampling: there is no class 3"),
    ],
)
def test_what_was_not_trained_is_refused_before_training(
    name: str, trained: dict[str, Any], sampling: dict[str, Any], said: str
) -> None:
    discover()
    evaluator = EVALUATORS.build({"name": name, "sampling": sampling}, key="evaluator.x")
    model, images = known(DDPM, never, (1, 8, 8), conditional=True, **trained), split(torch.rand(4, 1, 8, 8))
    with pytest.raises(ConfigError, match=said):
        evaluator.check(model, images)
    state = torch.get_rng_state()
    EVALUATORS.build({"name": name, "sampling": {"label": 1}}).check(model, images)
    assert torch.equal(torch.get_rng_state(), state)


def never(*_: Any) -> Tensor:
    raise AssertionError("the network was called")


def test_a_model_that_reconstructs_has_no_options() -> None:
    discover()
    with pytest.raises(ConfigError, match="unknown key 'evaluator\\.sampling\\.steps'"):
        EVALUATORS.build({"name": "denoise", "sampling": {"steps": 5}}).check(Stub(4), split(torch.rand(4, 1, 8, 8)))
