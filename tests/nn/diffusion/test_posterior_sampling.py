"""Restoration against closed forms: of Gaussian data the mean, the variance and the conditional are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.model import Denoises, Inpaints
from genlab.errors import ConfigError
from genlab.models.diffusion.ddpm import DDPM
from genlab.models.diffusion.edm import EDM
from genlab.models.flows.flow_matching import FlowMatching
from genlab.models.flows.meanflow import MeanFlow
from genlab.nn.diffusion import posterior_sampling
from genlab.nn.diffusion.guidance import GuidedModel
from genlab.nn.diffusion.schedules import alpha_bars, noise_levels
from tests.support.fields import POINT, Field, known

S = 0.5  # data are N(0, S²) inside the model
IMAGE = (1, 4, 4)


def flow(x: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
    """E[x₁ − x₀ | x_t] with the data at t = 1."""
    return (t * S**2 - (1 - t)) / ((1 - t) ** 2 + t**2 * S**2) * x


def average(x: Tensor, times: Tensor, label: Tensor | None) -> Tensor:
    """The velocity at r = t, with the data at t = 0."""
    t, apart = times[:, :1], times[:, 1:]
    assert apart.eq(0).all()
    return -flow(x, 1 - t, label)


def epsilon(x: Tensor, time: Tensor, label: Tensor | None) -> Tensor:
    alpha_bar = torch.tensor(alpha_bars("linear", 1000))[(1000 * time).round().long()]
    return (1 - alpha_bar).sqrt() / (alpha_bar * S**2 + 1 - alpha_bar) * x


def zero(x: Tensor, time: Tensor, label: Tensor | None) -> Tensor:
    """EDM's network for these data: D(x; σ) = c_skip x."""
    return torch.zeros_like(x)


EXACT: dict[type[GuidedModel], Callable[..., Tensor]] = {
    FlowMatching: flow, MeanFlow: average, DDPM: epsilon, EDM: zero,
}  # fmt: skip


@pytest.mark.parametrize("kind", EXACT)
def test_each_model_knows_the_mean_of_data_at_every_noise_level(kind: type[GuidedModel]) -> None:
    model, x = known(kind, EXACT[kind]), torch.randn(5, *POINT)
    for sigma in (0.05, 0.3, 2.0, 20.0):
        assert torch.allclose(model.posterior_mean(x, sigma, None), S**2 / (S**2 + sigma**2) * x, rtol=0.02), sigma


@pytest.mark.parametrize("kind", EXACT)
def test_denoising_gives_the_mean_and_samples_of_the_posterior(kind: type[GuidedModel]) -> None:
    """x ~ N(½, ¼²) in images of [0, 1] and y = x + σ noise: x given y is normal, with a known mean and variance."""
    model, sigma, seen = known(kind, EXACT[kind], IMAGE), 0.15, 0.7
    assert isinstance(model, Denoises)
    rng.seed(0)
    mean, sample = model.denoise(torch.full((500, *IMAGE), seen), sigma, steps=100)
    kept = 0.25**2 / (0.25**2 + sigma**2)
    assert torch.allclose(mean, torch.tensor(0.5 + kept * (seen - 0.5)), atol=2e-3)
    assert float(sample.mean()) == pytest.approx(0.5 + kept * (seen - 0.5), abs=0.005)
    assert float(sample.std()) == pytest.approx(kept**0.5 * sigma, rel=0.05)


def test_with_the_default_steps_samples_vary_nearly_as_the_posterior() -> None:
    sigma, deviation = 0.15, 0.25
    rng.seed(0)
    _, sample = known(EDM, zero, IMAGE).denoise(torch.full((2000, *IMAGE), 0.5), sigma)
    exact = (deviation**-2 + sigma**-2) ** -0.5
    assert 0.89 * exact < float(sample.std()) < exact


def test_with_the_defaults_unknown_pixels_come_near_their_conditional() -> None:
    """Two pixels with correlation ρ; the known one is 1.5 standard deviations above the mean."""
    deviation, correlation = 0.3, 0.8
    covariance = deviation**2 * torch.tensor([[1, correlation], [correlation, 1]])

    class Gaussian(EDM):
        def posterior_mean(self, x: Tensor, sigma: float, *_: Any) -> Tensor:
            gain = covariance @ torch.linalg.inv(covariance + sigma**2 * torch.eye(2))
            return (x.flatten(1) @ gain.T).reshape(x.shape)

    model, y = known(Gaussian, zero, (1, 1, 2)), 1.5 * deviation
    image = model.to_image(torch.tensor([y, 0.0]).expand(3000, 1, 1, 2))
    rng.seed(0)
    found = model.from_image(model.inpaint(image, torch.tensor([False, True]).reshape(1, 1, 1, 2)))[..., 1]
    assert 0.82 * correlation * y < float(found.mean()) < correlation * y
    assert float(found.std()) == pytest.approx(deviation * (1 - correlation**2) ** 0.5, rel=0.25)


@pytest.mark.parametrize(("schedule", "timesteps"), [("linear", 1000), ("cosine", 50), ("linear", 1)])
def test_a_noise_level_is_taken_at_the_nearest_time(schedule: str, timesteps: int) -> None:
    model, seen = known(DDPM, zero, noise_schedule=schedule, timesteps=timesteps, target="x0"), list[float]()
    model.network = Field(lambda x, t, label: seen.append(round(float(t[0]) * timesteps)) or x)  # type: ignore[func-returns-value]
    levels = [math.log(1 / each - 1) / 2 for each in alpha_bars(schedule, timesteps)[1:]]  # type: ignore[arg-type]
    sigmas = [10 ** (i / 10 - 3) for i in range(70)]
    for sigma in sigmas:
        model.posterior_mean(torch.ones(1, *POINT), sigma, None)
    assert seen == [1 + min(range(timesteps), key=lambda i: abs(levels[i] - math.log(s))) for s in sigmas]


def test_an_image_without_noise_is_its_own_restoration() -> None:
    image = torch.rand(3, *IMAGE)
    for found in known(EDM, zero, IMAGE).denoise(image, 0.0):
        assert torch.equal(found, image)


def test_clipped_noise_becomes_gaussian_again() -> None:
    rng.seed(0)
    sigma, black = 0.4, -torch.ones(20_000)
    noisy = (black + sigma * torch.randn(20_000)).clamp(-1, 1)
    for sign in (1, -1):  # black or white
        found = posterior_sampling.unclipped(sign * noisy, sigma)
        assert float(found.mean()) == pytest.approx(-sign, abs=0.01)
        assert float(found.std()) == pytest.approx(sigma, rel=0.02)
        assert torch.equal(found.clamp(-1, 1), sign * noisy)


def test_parts_of_the_levels_are_passed_again() -> None:
    levels = [4.0, 3.0, 2.0, 1.0, 0.0]
    found = [*posterior_sampling.resampled(levels, 2, 2)]
    first = [(4, 3), (3, 2), (2, 4), (4, 3), (3, 2)]
    assert found == [*first, (2, 1), (1, 0), (0, 2), (2, 1), (1, 0)]
    assert [*posterior_sampling.resampled(levels, 3, 1)] == [(4, 3), (3, 2), (2, 1), (1, 0)]


def test_repeats_bring_inpainting_to_the_conditional() -> None:
    """Two values with correlation ρ: given the first, the second is N(ρ y, (1 − ρ²) S²)."""
    correlation, y = 0.8, 0.7
    covariance = S**2 * torch.tensor([[1, correlation], [correlation, 1]])

    def mean(x: Tensor, sigma: float) -> Tensor:
        gain = covariance @ torch.linalg.inv(covariance + sigma**2 * torch.eye(2))
        return (x.flatten(1) @ gain.T).reshape(x.shape)

    given = torch.tensor([y, 0.0]).reshape(POINT).expand(4000, *POINT)
    mask = torch.tensor([False, True]).reshape(1, *POINT)
    levels = noise_levels(posterior_sampling.SIGMA_MAX, posterior_sampling.SIGMA_MIN, 40)
    found = []
    for repeats in (1, 5, 20):
        rng.seed(0)
        x = posterior_sampling.inpaint(mean, given, mask, levels, 1, repeats)
        assert torch.equal(x[:, 0], given[:, 0])
        found.append(x[:, 1])
    errors = [abs(float(x.mean()) - correlation * y) for x in found]
    assert errors[0] > 0.2
    assert errors[1] < errors[0] / 2
    assert errors[2] < 0.03
    assert float(found[2].std()) == pytest.approx(S * (1 - correlation**2) ** 0.5, rel=0.2)


@pytest.mark.parametrize("kind", EXACT)
def test_inpainting_keeps_known_pixels_to_the_bit(kind: type[GuidedModel]) -> None:
    model, image = known(kind, EXACT[kind], (3, 4, 4)), torch.rand(6, 3, 4, 4)
    assert isinstance(model, Inpaints)
    mask = torch.zeros(6, 1, 4, 4, dtype=torch.bool)
    mask[:, :, 1:3, 1:3] = True
    rng.seed(0)
    found = model.inpaint(image, mask, steps=4, jump=2, repeats=2)
    everywhere = mask.expand_as(image)
    assert torch.equal(found[~everywhere], image[~everywhere])
    assert not torch.isclose(found[everywhere], image[everywhere]).any()
    assert 0 <= found.min() <= found.max() <= 1


@pytest.mark.parametrize("kind", EXACT)
def test_the_seed_decides_a_restoration(kind: type[GuidedModel]) -> None:
    model, image = known(kind, EXACT[kind], IMAGE), torch.rand(3, *IMAGE)
    mask = torch.ones(3, 1, 4, 4, dtype=torch.bool)
    found = []
    for seed in (0, 0, 1):
        rng.seed(seed)
        found.append((model.denoise(image, 0.2, steps=3)[1], model.inpaint(image, mask, steps=3)))
    for first, again, other in zip(*found, strict=True):
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


def test_the_class_is_the_one_given_or_not_known() -> None:
    model = known(FlowMatching, flow, IMAGE, conditional=True)
    model.denoise(torch.rand(2, *IMAGE), 0.2, steps=2)
    assert not model.network.labels
    model.denoise(torch.rand(2, *IMAGE), 0.2, steps=1, label=2)
    assert [label.tolist() for label in model.network.labels] == [[2, 2]]


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ({}, {"label": 1}, "without classes; keys label and guidance; train with"),
        ({"conditional": True}, {"guidance": 2.0}, "guidance needs a class; key guidance; add a label"),
        ({"conditional": True, "label_dropout": 0.0}, {}, "restoration without a label needs .*label_dropout"),
        ({"conditional": True}, {"label": 3}, "there is no class 3; key label; give a label from 0 to 2"),
    ],
)
def test_a_class_or_guidance_that_was_not_trained_is_refused(
    model: dict[str, Any], options: dict[str, Any], said: str
) -> None:
    made, image = known(FlowMatching, flow, IMAGE, **model), torch.rand(2, *IMAGE)
    for restore in (
        lambda: made.denoise(image, 0.2, **options),
        lambda: made.inpaint(image, image > 0.5, **options),
    ):
        with pytest.raises(ConfigError, match=said):
            restore()
