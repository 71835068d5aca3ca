"""Augmentations: what they do to an image, that gradients pass twice, and how ADA adapts its strength."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.nn.augment.ada import Adaptive
from genlab.nn.augment.warp import warp
from genlab.registry import AUGMENTATIONS, discover

SPECS = [{"name": "diffaug"}, {"name": "ada", "start": 1.0}]


def made(spec: dict[str, object], shape: tuple[int, int, int]) -> nn.Module:
    discover()
    module: nn.Module = AUGMENTATIONS.build(spec, "model.augment", image_shape=shape)
    return module


def images(n: int, *shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed)) - 1


def ada(start: float, **keys: float) -> Adaptive:
    module = made({"name": "ada", "start": start, **keys}, (3, 16, 16))
    assert isinstance(module, Adaptive)
    return module


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["name"])
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 12, 20)], ids=str)
def test_images_change_reproducibly_and_keep_their_shape(spec: dict[str, object], shape: tuple[int, int, int]) -> None:
    augment, x = made(spec, shape), images(5, *shape)
    rng.seed(1)
    first = augment(x)
    rng.seed(1)
    assert torch.equal(augment(x), first)
    assert first.shape == x.shape
    assert ((first - x).abs().flatten(1).amax(1) > 0.05).all()
    assert not torch.allclose(augment(x), first)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["name"])
def test_gradients_pass_twice(spec: dict[str, object]) -> None:
    """Against differences: the gradient of ‖∇ Σ f(augment(x))‖², which R1 descends."""
    augment = made(spec, (3, 8, 8))
    weight = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(2))

    def squared(x: Tensor) -> Tensor:
        rng.seed(4)
        y = (augment(x) * weight).tanh().sum()
        [gradient] = torch.autograd.grad(y, x, create_graph=True)
        return gradient.square().sum()

    x = images(2, 3, 8, 8).requires_grad_()
    [found] = torch.autograd.grad(squared(x), x)
    way = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
    step = 1e-3
    ahead, behind = (x.detach() + step * sign * way for sign in (1, -1))
    difference = (squared(ahead.requires_grad_()) - squared(behind.requires_grad_())) / (2 * step)
    assert float((found * way).sum()) == pytest.approx(difference.item(), rel=0.02)


def test_without_strength_nothing_changes() -> None:
    x = images(4, 3, 16, 16)
    assert torch.allclose(ada(0.0)(x), x, atol=1e-4)


def test_a_warp_takes_values_from_where_the_matrix_points() -> None:
    x = images(1, 1, 9, 12)
    matrix = torch.tensor([[[0.9, 0.3, 0.7], [-0.2, 1.1, -0.4]]])
    center = torch.tensor([4.0, 5.5])  # scipy's places are (row, column), from the corner
    swapped = matrix[0, :, :2].flip(0, 1)
    offset = center + matrix[0, :, 2].flip(0) - swapped @ center
    expected = ndimage.affine_transform(x[0, 0].numpy(), swapped.numpy(), offset.numpy(), order=1, mode="reflect")
    assert torch.allclose(warp(x, matrix)[0, 0], torch.from_numpy(expected), atol=1e-4)


def test_a_move_by_whole_pixels_is_exact() -> None:
    x = images(1, 1, 8, 8)
    matrix = torch.tensor([[[1.0, 0, 2], [0, 1, -1]]])
    moved = warp(x, matrix, "zeros")
    assert torch.allclose(moved[..., 1:, :6], x[..., :7, 2:], atol=1e-5)
    assert moved[..., 0, :].abs().max() < 1e-5


def test_translation_and_cutout_move_and_cut_as_far_as_they_say() -> None:
    ones = torch.ones(200, 1, 16, 16)
    rng.seed(0)
    kept = made({"name": "diffaug", "policy": ["translation"]}, (1, 16, 16))(ones)
    lost = 16 - kept[:, 0].amax(1).round().sum(1)  # columns that moved out
    assert set(lost.tolist()) == {0, 1, 2}
    assert set(kept.round().unique().tolist()) == {0, 1}
    rng.seed(0)
    cut = made({"name": "diffaug", "policy": ["cutout"]}, (1, 16, 16))(ones)
    holes = (1 - cut).flatten(1).sum(1)
    assert holes.max() == 64
    assert holes.min() >= 16  # a quarter of it at least is inside


def test_half_of_the_images_are_mirrored_at_most() -> None:
    augment = ada(1.0)
    rng.seed(0)
    matrix = augment.geometry(images(2000, 3, 16, 16))[0]
    assert float((torch.det(matrix[:, :, :2]) < 0).float().mean()) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_each_rotation_is_rarer_so_that_both_together_have_probability_p(share: float) -> None:
    augment = ada(share)
    rng.seed(0)
    matrix = augment.geometry(images(4000, 3, 16, 16))[0][:, :, :2]
    turned = (matrix @ matrix.mT)[:, 0, 1].abs() > 1e-4  # a stretch between turns that is not along the axes
    assert float(turned.float().mean()) == pytest.approx(share * (1 - (1 - share) ** 0.5), abs=0.03)


def test_ada_rises_when_the_discriminator_is_sure_and_is_clamped() -> None:
    augment = ada(0.0, kimg=1.0).train()
    for _ in range(10):
        augment.observe(torch.ones(50), 50)
    assert float(augment.p) == pytest.approx(0.5)  # 500 of 1,000 images
    for _ in range(20):
        augment.observe(torch.ones(50), 50)
    assert float(augment.p) == 1
    for _ in range(60):
        augment.observe(-torch.ones(50), 50)
    assert float(augment.p) == 0
    augment.eval().observe(torch.ones(50), 50)
    assert float(augment.p) == 0


def test_the_speed_of_ada_does_not_depend_on_the_size_of_a_batch() -> None:
    small, large = ada(0.0, kimg=1.0).train(), ada(0.0, kimg=1.0).train()
    for _ in range(8):
        small.observe(torch.ones(10), 10)
    large.observe(torch.ones(80), 80)
    assert float(small.p) == pytest.approx(float(large.p))


def test_gray_pictures_are_colored_as_their_colored_copies_are() -> None:
    """One channel goes through the mean of what three equal channels would become."""
    gray, color = made(SPECS[1], (1, 16, 16)), made(SPECS[1], (3, 16, 16))
    x = images(6, 1, 16, 16)
    rng.seed(5)
    one = gray.recolored(x)  # type: ignore[operator]
    rng.seed(5)
    three = color.recolored(x.expand(-1, 3, -1, -1))  # type: ignore[operator]
    # hue and saturation turn about the gray axis, which holds the mean
    assert torch.allclose(one, three.mean(1, keepdim=True), atol=1e-4)


def test_ada_counts_the_images_of_a_pack() -> None:
    alone, packed = ada(0.0, kimg=1.0).train(), ada(0.0, kimg=1.0).train()
    for _ in range(8):
        alone.observe(torch.ones(40), 40)
        packed.observe(torch.ones(20), 40)  # twenty verdicts on pairs
    torch.testing.assert_close(packed.p, alone.p)


def test_points_are_not_augmented() -> None:
    for name in ("ada", "diffaug"):
        with pytest.raises(ConfigError, match=r"points cannot be augmented; key model\.augment"):
            AUGMENTATIONS.build({"name": name}, "model.augment", image_shape=(2, 1, 1))
