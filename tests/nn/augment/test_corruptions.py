"""Ways to corrupt an image: how much of it, where, and alike among ranks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.nn.augment.corruptions import GRAY, box_mask
from genlab.registry import CORRUPTIONS

NAMES = ["gaussian", "masking", "salt_pepper", "box"]


def corrupted(name: str, amount: Any, image: Tensor) -> Tensor:
    rng.seed(0)
    result: Tensor = CORRUPTIONS.build({"name": name, "amount": amount})(image)
    return result


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("amount", [0.0, 0.3, 1.0, [0.0, 1.0]])
def test_corrupted_images_are_images(name: str, amount: Any) -> None:
    image = torch.rand(6, 3, 9, 12)
    before = image.clone()
    other = corrupted(name, amount, image)
    assert torch.equal(image, before)  # the clean image is still needed
    assert other.shape == image.shape
    assert other.min() >= 0
    assert other.max() <= 1
    assert torch.equal(other, image) == (amount == 0.0)


def test_noisy_points_may_have_any_value() -> None:
    points = torch.linspace(-3, 3, 2000).reshape(1000, 2, 1, 1)
    assert (corrupted("gaussian", 0.1, points) - points).std() == pytest.approx(0.1, rel=0.1)


def test_gaussian_noise_has_its_deviation() -> None:
    image = torch.full((50, 1, 20, 20), 0.5)
    change = corrupted("gaussian", 0.1, image) - image
    assert float(change.std()) == pytest.approx(0.1, rel=0.03)
    assert abs(float(change.mean())) < 0.003


def test_shares_are_kept_and_channels_go_together() -> None:
    image = torch.full((50, 3, 20, 20), 0.5)
    masked, peppered = corrupted("masking", 0.25, image), corrupted("salt_pepper", 0.3, image)
    assert float((masked == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert float((peppered == 0).float().mean()) == pytest.approx(0.15, abs=0.01)
    assert float((peppered == 1).float().mean()) == pytest.approx(0.15, abs=0.01)
    for other in (masked, peppered):
        assert torch.equal(other[:, 0], other[:, 1])


def test_a_range_is_drawn_from_for_each_image() -> None:
    image = torch.full((400, 1, 20, 20), 0.5)
    deviations = (corrupted("gaussian", [0.02, 0.1], image) - image).flatten(1).std(1)
    assert float(deviations.min()) < 0.03
    assert float(deviations.max()) > 0.09
    assert float(deviations.mean()) == pytest.approx(0.06, abs=0.005)


def test_boxes_are_whole_squares_everywhere() -> None:
    rng.seed(0)
    masks = box_mask(torch.zeros(500, 3, 8, 12), 0.5)
    assert masks.shape == (500, 1, 8, 12)
    assert (masks.flatten(1).sum(1) == 16).all()
    rows, columns = masks.any(3).flatten(1), masks.any(2).flatten(1)
    assert (rows.sum(1) == 4).all()
    assert (columns.sum(1) == 4).all()
    assert rows.any(0).all()  # every row and column is sometimes inside, the edges too
    assert columns.any(0).all()
    image = torch.rand(4, 3, 8, 12)
    assert corrupted("box", 1.0, image)[:, :, :, 8:].eq(GRAY).any()


@pytest.mark.parametrize("name", NAMES)
def test_two_ranks_spoil_as_one_does(name: str) -> None:
    image = torch.rand(6, 1, 8, 8)
    whole = corrupted(name, [0.1, 0.9], image)
    try:
        halves = []
        for rank in (0, 1):
            rng.set_rank(rank, 2)
            halves.append(corrupted(name, [0.1, 0.9], image[3 * rank : 3 * rank + 3]))
    finally:
        rng.set_rank(0, 1)
    assert torch.equal(torch.cat(halves), whole)


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "masking", "amount": 1.5},
        {"name": "gaussian", "amount": -0.1},
        {"name": "gaussian", "amount": [0.1]},
        {"name": "gaussian", "amount": [0.5, 0.1]},
        {"name": "gausian", "amount": 0.1},
        {"name": "box"},
    ],
)
def test_bad_amounts_are_refused_in_one_line(spec: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as error:
        CORRUPTIONS.build(spec, "model.corruption")
    assert "\n" not in str(error.value)
