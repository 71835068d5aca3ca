"""fid, kid, prdc, diversity, memorization over data and models of which the answer is known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.core.model import Model
from genlab.core.sampling import sample_batches
from genlab.core.values import Image
from genlab.data.loader import Data
from genlab.data.store.table import Table
from genlab.engine.evaluate import Evaluator, evaluate
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.distribution.distances import (
    Coverage,
    FrechetDistance,
    KernelDistance,
    QuickFrechetDistance,
)
from genlab.evaluation.evaluators.distribution.diversity import (
    LINE,
    Diversity,
    bars,
    entropy,
    pair_distance,
    pair_ssim,
    total_variation,
)
from genlab.evaluation.evaluators.distribution.memorization import Memorization
from genlab.evaluation.metrics.frechet import fid
from genlab.evaluation.metrics.neighbors import prdc
from genlab.registry import EVALUATORS
from tests.support.in_memory import Fixed, in_memory


def split_images(data: Data, name: str) -> Tensor:
    return data.split(name).take(10_000, ("image",))[0]


def fresh(n: int, seed: int = 9) -> Tensor:
    return torch.randint(0, 256, (n, 1, 4, 4), generator=torch.Generator().manual_seed(seed)) / 255


def test_fid_is_named_by_its_extractor_and_stands_beside_the_floor(noise_images: Data) -> None:
    evaluator = FrechetDistance(images=100, extractor="pixels", batch_size=33)
    made, real = fresh(100), split_images(noise_images, "valid")
    found = dict(evaluate(evaluator, Fixed(made), noise_images, seed=0))
    assert found["fid_pixels"] == pytest.approx(fid(made.flatten(1), real.flatten(1)))
    worse = dict(evaluate(evaluator, Fixed(made * 0.5), noise_images, seed=0))
    assert worse["fid_pixels"] > 5 * worse["fid_pixels_floor"] > 0
    said = evaluator.protocol()
    assert (said["generated_images"], said["real_images"], said["floor_images"]) == (100, 60, "100 of train")
    assert said["extractor"] == "pixels"
    assert "fewer than 10,000" in said["caution"]


def digits(n: int, seed: int) -> Tensor:
    return torch.randint(0, 256, (n, 1, 28, 28), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


class Ranked(Fixed):
    monitor = "quick_fid"


def test_a_gan_is_ranked_by_the_classifier_of_its_data_set() -> None:
    data = in_memory(digits(400, 0), name="mnist", valid=200)
    evaluator = QuickFrechetDistance(images=200)
    assert [evaluator.applies(model) for model in (Ranked(fresh(1)), Fixed(fresh(1)), Model())] == [True, False, False]
    found = dict(evaluate(evaluator, Ranked(digits(200, 1) / 255), data, seed=0))
    worse = dict(evaluate(evaluator, Ranked(digits(200, 1) / 510), data, seed=0))
    full = dict(evaluate(FrechetDistance(images=200), Fixed(digits(200, 1) / 255), data, seed=0))
    assert found == {"quick_fid": full["fid_mnist"], "quick_fid_floor": full["fid_mnist_floor"]}
    assert worse["quick_fid"] > 2 * found["quick_fid"]


@pytest.mark.parametrize(("name", "valid", "why"), [("digits", 200, "no classifier"), ("mnist", 127, "fewer than 128")])
def test_without_a_classifier_or_enough_images_a_gan_has_no_quick_fid(name: str, valid: int, why: str) -> None:
    data = in_memory(digits(400, 0), name=name, valid=valid)
    evaluator = QuickFrechetDistance(images=200)
    evaluator.check(Ranked(digits(200, 1) / 255), data.split("valid"))
    assert evaluate(evaluator, Ranked(digits(200, 1) / 255), data, seed=0) == []
    assert why in evaluator.protocol()["caution"]


def test_fid_refuses_fewer_images_than_twice_the_features(noise_images: Data) -> None:
    evaluator = FrechetDistance(images=31, extractor="pixels", key="evaluator.mine")
    with pytest.raises(
        ConfigError,
        match=r"31 generated images are too few.*key evaluator.mine.images=31; use evaluator.mine.images=32 or more",
    ):
        evaluate(evaluator, Fixed(fresh(31)), noise_images, seed=0)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"sampling": {"bogus": 1}}, r"unknown key 'evaluator\.mine\.sampling\.bogus'"),
        ({"sampling": {"label": 1}, "source": "reconstructions"}, r"samples nothing; key evaluator\.mine\.sampling"),
    ],
)
def test_sampling_options_are_checked_before_training(keys: dict[str, Any], said: str, noise_images: Data) -> None:
    evaluator = EVALUATORS.build({"name": "fid", "extractor": "pixels", **keys}, "evaluator.mine", key="evaluator.mine")
    with pytest.raises(ConfigError, match=said):
        evaluator.check(Fixed(fresh(1)), noise_images.split("valid"))


def test_samples_of_one_class_are_not_said_to_be_of_every_class(noise_images: Data) -> None:
    class Labeled(Fixed):
        num_classes = 4

        def sample(self, n: int, label: int | None = None) -> Tensor:
            return super().sample(n)

    for sampling, noted in ((None, True), ({"label": 3}, False)):
        evaluator = FrechetDistance(images=40, extractor="pixels", sampling=sampling)
        evaluate(evaluator, Labeled(fresh(40)), noise_images, seed=0)
        assert ("labels" in evaluator.protocol()) == noted


def in_levels(images: Tensor) -> Tensor:
    """Images with 256 levels, as in files."""
    return (images * 255).round() / 255


def test_reconstructions_are_compared_with_their_images(noise_images: Data) -> None:
    evaluator = FrechetDistance(extractor="pixels", source="reconstructions")
    found = dict(evaluate(evaluator, Fixed(fresh(1)), noise_images, seed=0))
    real = split_images(noise_images, "valid")
    assert found["fid_pixels"] == pytest.approx(fid(in_levels((real + 0.1).clamp(max=1)).flatten(1), real.flatten(1)))
    assert not FrechetDistance(source="translations").applies(Fixed(fresh(1)))


def test_translations_of_a_are_compared_with_b(noise_images: Data) -> None:
    class Brighter(Model):
        def translate(self, image: Tensor) -> Tensor:
            return (image * 1.4).clamp(max=1)

    a, b = (fresh(200) * 255).round().to(torch.uint8), (fresh(200, seed=3) * 255).round().to(torch.uint8)
    table = Table("pairs", {"image": a, "a": a, "b": b}, torch.device("cpu"), True)
    rows = torch.arange(200)
    data = Data(table, {"train": rows[:100], "valid": rows[100:], "test": rows[:0]}, None, "f" * 64, 0, False)
    evaluator = FrechetDistance(extractor="pixels", source="translations")
    assert evaluator.applies(Brighter())
    found = dict(evaluate(evaluator, Brighter(), data, seed=0))
    expected = fid(in_levels((a[100:] / 255 * 1.4).clamp(max=1)).flatten(1), (b[100:] / 255).flatten(1))
    assert found["fid_pixels"] == pytest.approx(expected, rel=1e-5)
    assert found["fid_pixels_floor"] == pytest.approx(
        fid((b[:100] / 255).flatten(1), (b[100:] / 255).flatten(1)), rel=1e-5
    )


def test_kid_and_prdc_of_a_sampler_of_the_data_are_the_floors_own(noise_images: Data) -> None:
    model = Fixed(fresh(200))
    kid = dict(evaluate(KernelDistance(100, "pixels", subsets=20, subset_size=40), model, noise_images, seed=0))
    assert abs(kid["kid_pixels"]) < 3 * kid["kid_pixels_sd"]
    far = dict(
        evaluate(
            KernelDistance(100, "pixels", subsets=20, subset_size=40), Fixed(fresh(100) * 0.2), noise_images, seed=0
        )
    )
    assert far["kid_pixels"] > 10 * abs(kid["kid_pixels"]) + 0.01
    with pytest.raises(ConfigError, match=r"subset_size=61.*use .*subset_size=\d"):
        evaluate(KernelDistance(100, "pixels", subsets=20, subset_size=61), model, noise_images, seed=0)
    model.next = 0
    found = dict(evaluate(Coverage(images=500, k=3, extractor="pixels"), model, noise_images, seed=0))
    real = split_images(noise_images, "valid").flatten(1)
    expected = prdc(real, fresh(200)[:60].flatten(1), 3)  # as many samples as the split has images
    assert {key: found[f"{key}_pixels"] for key in expected} == pytest.approx(expected)
    assert 0.5 < found["precision_pixels_real"] <= 1


def test_diversity_is_one_for_the_data_and_nothing_for_one_image(noise_images: Data) -> None:
    evaluator = Diversity(images=100, extractor="pixels")
    found = dict(evaluate(evaluator, Fixed(fresh(100)), noise_images, seed=0))
    assert found["distance_of_pairs_pixels"] == pytest.approx(1, abs=0.1)
    assert abs(found["ssim_of_pairs"] - found["ssim_of_pairs_real"]) < 0.2  # of 30 pairs
    one = dict(evaluate(evaluator, Fixed(fresh(1)), noise_images, seed=0))
    assert one["distance_of_pairs_pixels"] == 0
    assert one["ssim_of_pairs"] == pytest.approx(1)


def test_the_class_histogram_is_the_classifiers(real_data: object) -> None:
    from genlab.data.datasets.mnist import MNIST

    data = MNIST(limit=300, valid=300).open(torch.device("cpu"))
    image, label = data.split("valid").take(300, ("image", "label"))
    sevens = image[label == 7]
    evaluator = Diversity(images=100)
    found = dict(evaluate(evaluator, Fixed(sevens), data, seed=0))
    assert found["class_fraction_mnist/7"] > 0.95
    assert evaluator.protocol()["floor_images"] == "100 of train, which the extractor was trained on"
    assert found["class_entropy_mnist"] < 0.3 < 2 < found["class_entropy_mnist_real"] <= math.log(10)
    assert found["class_distance_mnist"] == pytest.approx(1 - float((label == 7).double().mean()), abs=0.06)
    assert isinstance(found["classes_of_samples_beside_the_data"], Image)


def test_entropy_variation_pairs_and_bars_in_closed_form() -> None:
    assert entropy(torch.tensor([0.5, 0.5, 0.0])) == pytest.approx(math.log(2))
    assert total_variation(torch.tensor([1.0, 0.0]), torch.tensor([0.25, 0.75])) == pytest.approx(0.75)
    assert pair_distance(torch.tensor([[0.0], [3.0], [3.0]])) == pytest.approx((3 + 0 + 3) / 3)
    assert pair_ssim(torch.rand(1, 1, 8, 8).repeat(5, 1, 1, 1)) == pytest.approx(1)
    image = bars(torch.tensor([1.0, 0.5]), torch.tensor([0.0, 0.25]), height=8, width=1).pixels[0]
    dark = (image[LINE:-LINE] < 255).sum(0)
    assert dark.tolist()[:6] == [8, 0, 0, 4, 2, 0]
    assert (image[:LINE] < 255).any()  # the legend
    assert (image[-LINE:] < 255).any()  # the classes' numbers


def test_pairs_are_the_same_of_classes_in_turn_and_of_classes_mixed() -> None:
    source = torch.Generator().manual_seed(1)
    classes = torch.rand(5, 1, 8, 8, generator=source).repeat(200, 1, 1, 1)  # neighbors are never of one class
    images = (classes + 0.01 * torch.randn(1000, 1, 8, 8, generator=source)).clamp(0, 1)
    mixed = images[torch.randperm(1000, generator=source)]
    assert pair_distance(images.flatten(1)) == pytest.approx(pair_distance(mixed.flatten(1)), rel=0.05)
    assert pair_ssim(images) == pytest.approx(pair_ssim(mixed), abs=0.05)


def test_a_floor_of_fewer_images_stands_beside_a_distance_of_as_few_samples() -> None:
    data = in_memory((fresh(160) * 255).round().to(torch.uint8), valid=100)
    evaluator, made = FrechetDistance(images=200, extractor="pixels"), fresh(200, seed=3)
    found = dict(evaluate(evaluator, Fixed(made), data, seed=0))
    real = split_images(data, "valid").flatten(1)
    assert found["fid_pixels"] == pytest.approx(fid(made.flatten(1), real))
    assert found["fid_pixels_at_floor"] == pytest.approx(fid(made[:60].flatten(1), real))
    assert evaluator.protocol()["floor_images"] == "60 of train"
    assert "compare it with fid_pixels_at_floor" in evaluator.protocol()["floor"]
    assert "fid_pixels_at_floor" not in dict(evaluate(FrechetDistance(60, "pixels"), Fixed(made), data, seed=0))


@pytest.mark.parametrize("evaluator", [FrechetDistance(40, "pixels"), Diversity(40, "pixels"), Memorization(40)])
def test_training_images_are_not_measured_against_themselves(evaluator: Evaluator, noise_images: Data) -> None:
    with pytest.raises(ConfigError, match=r"against themselves; split=train; use split=test or split=valid"):
        evaluate(evaluator, Fixed(fresh(40)), noise_images, seed=0, split="train")


def test_every_class_is_drawn_though_a_part_is_smaller_than_their_number() -> None:
    class InTurn(Model):
        num_classes = 7

        def sample(self, n: int, label: int | None = None) -> Tensor:
            return torch.arange(n) % self.num_classes if label is None else torch.full((n,), label)

    for most in (3, 10):
        drawn = torch.cat(list(sample_batches(InTurn(), 70, most)))
        assert drawn.bincount().tolist() == [10] * 7
    assert [len(batch) for batch in sample_batches(InTurn(), 25, 15)] == [14, 11]
    assert [len(batch) for batch in sample_batches(Fixed(fresh(1)), 600, 256)] == [256, 256, 88]


def test_copies_are_found_and_fresh_images_are_not() -> None:
    images = (fresh(500) * 255).round().to(torch.uint8)
    data = in_memory(images, valid=200)
    evaluator = Memorization(images=200, extractor="pixels", n=4)
    train = split_images(data, "train")
    copies = (train + 0.02 * torch.randn(train.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    found = dict(evaluate(evaluator, Fixed(copies), data, seed=0))
    assert found["nearer_than_real_pixels"] == 1
    assert found["copying_z_pixels"] < -10
    image = found["samples_above_nearest_training_images"]
    assert isinstance(image, Image)
    other = dict(evaluate(evaluator, Fixed(fresh(200, seed=11)), data, seed=0))
    assert other["nearer_than_real_pixels"] == pytest.approx(0.05, abs=0.05)
    assert abs(other["copying_z_pixels"]) < 3
    assert other["nearest_distance_pixels"] == pytest.approx(1, abs=0.05)


def test_images_of_one_pixel_have_no_grid_of_copies() -> None:
    points = torch.randint(0, 256, (200, 2, 1, 1), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = evaluate(Memorization(images=60, extractor="pixels"), Fixed(points / 255), in_memory(points), seed=0)
    assert [name for name, value in found if isinstance(value, Image)] == []
    assert "copying_z_pixels" in dict(found)


def test_data_that_are_all_alike_have_a_diversity() -> None:
    data = in_memory(torch.full((200, 1, 4, 4), 9, dtype=torch.uint8))
    found = dict(evaluate(Diversity(images=60, extractor="pixels"), Fixed(fresh(60)), data, seed=0))
    assert found["distance_of_pairs_pixels"] > 1e6
    assert found["ssim_of_pairs_real"] == pytest.approx(1)
