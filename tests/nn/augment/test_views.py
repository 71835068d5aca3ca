"""Random views: crops, mirrors and rotations are of the size that was asked for."""

from __future__ import annotations

import torch

from genlab.core import rng
from genlab.nn.augment.views import Views


def test_crops_of_the_whole_area_change_only_the_ratio_of_the_sides_and_mirror_half() -> None:
    image = 2 * torch.rand(5, 3, 8, 6) - 1
    rng.seed(0)
    same = Views((3, 8, 6), area=1.0, flip=False, color=0.0)
    crop = same.crop(image)
    assert torch.allclose(crop[:, 0, 0] * crop[:, 1, 1], torch.ones(5), atol=0.3)  # but for the ratio of the sides
    mirrored = Views((3, 8, 8), area=1.0, color=0.0).crop(torch.zeros(2000, 3, 8, 8))
    assert abs((mirrored[:, 0, 0] < 0).float().mean() - 0.5) < 0.05


def test_crops_stay_inside_and_have_the_area() -> None:
    rng.seed(0)
    crop = Views((1, 20, 10), area=0.2, flip=False, color=0.0).crop(torch.zeros(4000, 1, 20, 10))
    sides = crop[:, [0, 1], [0, 1]]
    area = sides.prod(1)
    assert 0.15 < area.min() < 0.25
    assert abs(area.mean() - 0.6) < 0.03
    assert (crop[:, :, 2].abs() <= (1 - sides) * torch.tensor([10, 20]) / 2 + 1e-4).all()  # no pixel from outside


def test_crops_of_smaller_images_stay_inside_them() -> None:
    """The levels of a progressive GAN are smaller than the images of the model."""
    rng.seed(0)
    crop = Views((1, 32, 32), area=0.2, flip=False, color=0.0).crop(torch.zeros(500, 1, 8, 4))
    sides = crop[:, [0, 1], [0, 1]]
    assert (crop[:, :, 2].abs() <= (1 - sides) * torch.tensor([4, 8]) / 2 + 1e-4).all()


def test_a_rotation_keeps_lengths() -> None:
    rng.seed(0)
    crop = Views((1, 16, 16), area=1.0, flip=False, rotation=30, color=0.0).crop(torch.zeros(500, 1, 16, 16))
    angle = torch.atan2(crop[:, 1, 0] / crop[:, :, 0].norm(dim=1), crop[:, 0, 0] / crop[:, :, 0].norm(dim=1))
    assert angle.abs().max() < torch.pi / 6 + 0.1
    assert angle.std() > 0.2


def test_color_changes_stay_in_range_and_gray_images_stay_gray() -> None:
    rng.seed(0)
    image = (2 * torch.rand(50, 1, 6, 6) - 1).expand(50, 3, 6, 6)
    viewed = Views((3, 6, 6), color=1.0)(image)
    assert viewed.abs().max() <= 1
    assert torch.allclose(viewed[:, 0], viewed[:, 2], atol=1e-5)
    assert not torch.allclose(viewed, image, atol=0.1)


def test_saturation_changes_within_its_bounds_and_a_fifth_of_the_images_become_gray() -> None:
    rng.seed(0)
    image = (2 * torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(0)) - 1).expand(2000, 3, 6, 6)
    viewed = Views((3, 6, 6), color=1.0).distort(image)
    gray, color = (each.mean(1).flatten(1).std(1) for each in (image, viewed))
    colorful, left = ((each - each.mean(1, keepdim=True)).flatten(1).norm(dim=1) for each in (image, viewed))
    saturation = (left / colorful) / (color / gray)  # brightness and contrast change both alike
    assert abs((saturation < 1e-3).float().mean() - 0.2) < 0.03
    kept = saturation[saturation > 1e-3]
    assert 0.19 < kept.min() < 0.3
    assert 1.7 < kept.max() < 1.81
