"""MADE: what each pixel depends on, probabilities that sum to 1, and samples that follow them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from genlab.core import rng
from genlab.models.autoregressive.made import MADE
from tests.support.models import states

SHAPE = (1, 2, 3)


def made(hidden: tuple[int, ...] = (20, 20), **changes: Any) -> MADE:
    torch.manual_seed(0)
    model = MADE(SHAPE, list(hidden), **changes)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.7)
    return model.eval()


@pytest.mark.parametrize("order", ["natural", "random"])
@pytest.mark.parametrize("hidden", [(40,), (40, 40)])
def test_a_pixel_depends_on_those_before_it_alone(order: Any, hidden: tuple[int, ...]) -> None:
    model = made(hidden, masks=3, order=order)
    first: Any = model.layers[0]
    positions = []
    for k in torch.arange(3).split(1):
        position = first.degrees_in[k][0]
        x = torch.randn(1, *SHAPE, requires_grad=True)
        logits = model.logits(x, k).flatten()
        for d in range(6):
            (gradient,) = torch.autograd.grad(logits[d], x, retain_graph=True)
            assert ((gradient.flatten() != 0) <= (position < position[d])).all()
        (last,) = torch.autograd.grad(logits[position.argmax()], x)
        assert (last.flatten() != 0).sum() == 5  # the last pixel sees all others
        positions.append(position.tolist())
    assert (positions[0] == positions[1] == [1, 2, 3, 4, 5, 6]) == (order == "natural")


@pytest.mark.parametrize("changes", [{}, {"masks": 3}, {"masks": 3, "order": "random"}], ids=str)
def test_probabilities_of_all_images_sum_to_one(changes: dict[str, Any]) -> None:
    model = made(**changes)
    with torch.no_grad():
        log_p = model.log_likelihood(states(6).unflatten(1, SHAPE)).double()
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-5)
    assert log_p.max() > math.log(0.05)


@pytest.mark.parametrize("changes", [{}, {"masks": 3, "order": "random"}], ids=str)
def test_samples_follow_the_distribution(changes: dict[str, Any]) -> None:
    """4,000 images against the probabilities of all 64, by χ² (63 degrees of freedom: 104 is one in 1,000)."""
    model = made(**changes)
    rng.seed(0)
    with torch.no_grad():
        p = model.log_likelihood(states(6).unflatten(1, SHAPE)).exp()
        drawn = (model.sample(4000).flatten(1) @ torch.tensor([32.0, 16, 8, 4, 2, 1])).long()
    expected = 4000 * p
    assert float(((drawn.bincount(minlength=64) - expected) ** 2 / expected).sum()) < 104


def test_a_batch_is_trained_with_one_mask_and_all_are_used() -> None:
    model, image = made(masks=4), states(6).unflatten(1, SHAPE)
    with torch.no_grad():
        of_masks = [-model.logits(image, k).sum() for k in torch.arange(4).split(1)]
        assert len({float(each) for each in of_masks}) == 4
        losses = set()
        for seed in range(40):
            rng.seed(seed)
            losses.add(round(float(model.loss(image)["loss"]), 3))
    assert len(losses) == 4
