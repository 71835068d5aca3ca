"""Shapes: the factors that travel with an image are those that it was drawn from."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genlab.data.datasets.synthetic.shapes import Shapes, templates
from genlab.errors import ConfigError

CPU = torch.device("cpu")


def drawn(**keys: int) -> tuple[Tensor, Tensor, Tensor]:
    return Shapes(n=400, valid=0, test=0, **keys).open(CPU).split("train").take(400, ("image", "label", "factors"))  # type: ignore[return-value]


@pytest.mark.parametrize("size", [16, 33, 64])
def test_shapes_are_binary_whole_and_where_their_factors_say(size: int) -> None:
    image, label, factors = drawn(size=size)
    assert image.shape == (400, 1, size, size)
    assert sorted(image.unique().tolist()) == [0, 1]
    assert torch.equal(label, factors[:, 0].long())
    inside = templates(size).float().sum((1, 2))  # no shape is cut off: every pixel of its template is in the image
    template = ((factors[:, 0] * 6 + factors[:, 1]) * 40 + factors[:, 2]).long()
    assert torch.equal(image.sum((1, 2, 3)) * 255, inside[template])
    place = torch.arange(size, dtype=torch.float32)
    mass = image.sum((1, 2, 3))
    for axis, factor in ((3, 3), (2, 4)):  # x, y: columns and rows; centers of mass follow, hearts are off by a little
        center = (image.sum((1, 2) if axis == 3 else (1, 3)) * place).sum(1) / mass
        expected = factors[:, factor] + (size - size // 2) / 2
        assert (center - expected).abs().max() < 0.06 * size


def test_scale_is_the_area_and_orientation_turns() -> None:
    area = templates(128).float().mean((1, 2)).view(3, 6, 40)
    scale = torch.linspace(0.5, 1, 6)
    assert torch.allclose(area.mean(2) / area.mean(2)[:, -1:], (scale**2).expand(3, 6), atol=0.02)
    square, ellipse, heart = templates(65).view(3, 6, 40, 96, 96)[:, -1]
    assert torch.equal(square[0], square[10])  # a quarter of a turn
    assert torch.equal(ellipse[0], ellipse[20])
    assert torch.equal(heart[0], heart[20].flip(0, 1))
    assert torch.equal(heart[10], heart[0].rot90(1, (0, 1)))  # counterclockwise


def test_images_differ_and_the_seed_chooses_them() -> None:
    first, again, other = (drawn(split_seed=seed)[2] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    data = Shapes(n=3000, valid=2000, test=2000, size=16).open(CPU)
    every = torch.cat([data.split(name).take(3000, ("factors",))[0] for name in ("train", "valid", "test")])
    assert len(every.unique(dim=0)) == 7000
    others = (Shapes(n=9, size=size, split_seed=seed) for size in (16, 17) for seed in (0, 1))
    assert len({other.open(CPU).fingerprint for other in others}) == 4


def test_more_images_than_there_are_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"46090 images are wanted, and there are 46080.*dataset\.n"):
        Shapes(size=16, n=46_070, valid=10, test=10).open(CPU)
