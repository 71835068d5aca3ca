"""PSNR and SSIM against their formulas, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genlab.nn.losses.image_similarity import psnr, ssim


def test_psnr_is_that_of_each_image() -> None:
    image = torch.zeros(2, 3, 4, 4)
    other = image + torch.tensor([0.1, 0.5])[:, None, None, None]
    assert psnr(image, other).tolist() == pytest.approx([20.0, 6.0206], abs=1e-3)
    assert psnr(image, image).tolist() == [100.0, 100.0]


@pytest.mark.parametrize(("height", "width", "side"), [(16, 13, 11), (8, 9, 7)])
def test_ssim_is_wangs_formula_in_every_window(height: int, width: int, side: int) -> None:
    generator = np.random.default_rng(0)
    x = generator.random((2, 3, height, width))
    y = np.clip(x + 0.2 * generator.standard_normal(x.shape), 0, 1)
    place = np.arange(side) - side // 2
    weights = np.exp(-(place[:, None] ** 2 + place[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    values = np.empty((2, 3, height - side + 1, width - side + 1))
    for n, c, i, j in np.ndindex(*values.shape):
        a, b = x[n, c, i : i + side, j : j + side], y[n, c, i : i + side, j : j + side]
        mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
        variance_a, variance_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
        covariance = (weights * (a - mean_a) * (b - mean_b)).sum()
        values[n, c, i, j] = ((2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)) / (
            (mean_a**2 + mean_b**2 + 1e-4) * (variance_a + variance_b + 9e-4)
        )
    found = ssim(torch.from_numpy(x), torch.from_numpy(y))
    np.testing.assert_allclose(found.numpy(), values.mean((1, 2, 3)), rtol=1e-3, atol=1e-4)


def test_ssim_of_equal_images_is_1() -> None:
    image = torch.rand(3, 1, 28, 20)
    torch.testing.assert_close(ssim(image, image), torch.ones(3))
