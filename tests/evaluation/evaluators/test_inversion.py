"""Inversion against least squares: with a linear decoder the best code is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.model import Model
from genlab.core.values import Image
from genlab.evaluation.evaluators.reconstruction import inversion
from genlab.evaluation.evaluators.reconstruction.inversion import Inversion
from genlab.evaluation.projection import nearest_codes
from tests.support.evaluated import MemorySplit


class Linear(Model):
    """Images of 16 pixels from codes of 3 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.1 * torch.randn(16, 3, generator=torch.Generator().manual_seed(0)))

    def prior(self, n: int) -> Tensor:
        return self.normal(n, 3)

    def decode(self, code: Tensor) -> Tensor:
        return (0.5 + code @ self.weight.t()).unflatten(1, (1, 4, 4))


class WithEncoder(Linear):
    """Its encoder is exact."""

    def encode(self, image: Tensor) -> Tensor:
        return (image.flatten(1) - 0.5) @ torch.linalg.pinv(self.weight).t()


class Folded(Linear):
    """Two of its images are nearest from places that no path of falling error connects: the sign of z₁ is lost."""

    def decode(self, code: Tensor) -> Tensor:
        bumps = torch.stack([code[:, 0], torch.sin(4 * code[:, 0])], 1)
        return bumps[:, :, None, None].expand(-1, 2, 1, 1)


def measured(model: Model, images: Tensor, **keys: Any) -> dict[str, Any]:
    evaluator = Inversion(n=len(images), **keys)
    rng.seed(0)
    with torch.no_grad():
        found = dict(evaluator.run(model, MemorySplit(images)))  # type: ignore[arg-type]
    return {name: value if isinstance(value, Image) else float(value) for name, value in found.items()} | {
        "protocol": evaluator.protocol()
    }


def test_of_a_linear_decoder_it_is_the_residual_of_least_squares(images: Tensor) -> None:
    model = Linear()
    weight = model.weight.detach().double()
    x = images.flatten(1).double() - 0.5
    residual = (x - x @ torch.linalg.pinv(weight).t() @ weight.t()).square().sum(1)
    found = measured(model, images, starts=2, columns=5)
    assert found["squared_error"] == pytest.approx(residual.mean().item(), rel=1e-3)
    assert found["squared_error_se"] == pytest.approx((residual.std() / len(x) ** 0.5).item(), rel=1e-2)
    assert found["seconds_per_image"] > 0
    assert "encoder_squared_error" not in found
    assert found["protocol"]["images"] == 10
    assert found["protocol"]["code_dim"] == 3
    assert found["protocol"]["encoder_start"] is False


def test_the_clock_is_read_when_the_device_has_finished(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    cpu = Tensor.cpu

    def to_host(tensor: Tensor) -> Tensor:
        events.append("result on the host")
        return cpu(tensor)

    def clock() -> float:
        events.append("clock")
        return float(len(events))

    monkeypatch.setattr(Tensor, "cpu", to_host)
    monkeypatch.setattr(inversion, "time", SimpleNamespace(perf_counter=clock))
    measured(Linear(), images, steps=1, starts=1)
    assert events[:3] == ["clock", "result on the host", "clock"]


def test_the_encoders_code_is_a_start_and_has_its_own_error(images: Tensor) -> None:
    model = WithEncoder()
    whole = measured(model, images, starts=1, steps=300)
    assert whole["encoder_squared_error"] == pytest.approx(whole["squared_error"], rel=1e-3)
    near = measured(model, images, starts=1, steps=1, rate=1e-6)
    assert near["squared_error"] == pytest.approx(near["encoder_squared_error"], rel=1e-3)
    alone = measured(model, images, starts=1, steps=1, rate=1e-6, encoder=False)
    assert alone["squared_error"] > 1.003 * near["squared_error"]  # the nearest of 1,000 samples
    assert "encoder_squared_error" not in alone


def test_more_starts_never_find_a_worse_image() -> None:
    model = Folded()
    targets = model.decode(torch.linspace(-1.5, 1.5, 12)[:, None].expand(-1, 3)).detach() + 0.3
    errors = [measured(model, targets, starts=starts)["squared_error"] for starts in (1, 40)]
    assert errors[1] <= errors[0] + 1e-6


def test_the_nearest_codes_are_those_of_the_nearest_images() -> None:
    model = Linear()
    rng.seed(1)
    codes = model.prior(600)  # more than are drawn at a time
    target = model.decode(codes[[5, 400]]).detach()
    found = nearest_codes(model.decode, codes, target, 3)
    assert found.shape == (2, 3, 3)
    torch.testing.assert_close(found[:, 0], codes[[5, 400]])
    distance = (model.decode(found.flatten(0, 1)) - target.repeat_interleave(3, 0)).flatten(1).norm(dim=1).view(2, 3)
    assert (distance.diff(dim=1) >= 0).all()
