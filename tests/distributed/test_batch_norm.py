"""Synchronised batch norm is torch's batch norm over the rows of all ranks, in value, gradient and memory."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from genlab.distributed.batch_norm import synchronize
from genlab.distributed.runtime import Runtime
from genlab.errors import ConfigError
from tests.support.gloo import among

ROWS = (slice(0, 2), slice(2, 6))  # uneven shares


def case(kind: type[nn.Module], shape: tuple[int, ...], **options: Any) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    layer = kind(3, **options).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    image = 3 + 2 * torch.randn(6, 3, *shape, dtype=torch.float64)
    return layer, image, torch.randn_like(image)


def outcome(layer: nn.Module, image: Tensor, target: Tensor, penalty: bool) -> dict[str, Tensor]:
    """Output, gradients (of a gradient penalty, too) and state after one backward."""
    image = image.clone().requires_grad_()
    out = layer(image)
    value = (out * target).square().sum()
    if penalty:
        (slope,) = torch.autograd.grad(value, image, create_graph=True)
        value = slope.square().sum()
    value.backward()
    gradients = {f"gradient of {name}": p.grad for name, p in layer.named_parameters()}
    return {"out": out.detach(), "gradient": image.grad, **gradients, **dict(layer.named_buffers())}


@pytest.mark.parametrize("penalty", [False, True])
@pytest.mark.parametrize(
    ("kind", "shape", "options"),
    [
        (nn.BatchNorm1d, (), {}),
        (nn.BatchNorm1d, (5,), {"momentum": None}),
        (nn.BatchNorm2d, (4, 3), {}),
        (nn.BatchNorm2d, (4, 3), {"affine": False}),
        (nn.BatchNorm3d, (2, 2, 2), {"track_running_stats": False}),
    ],
)
def test_equal_to_batch_norm_over_all_rows(
    kind: type[nn.Module], shape: tuple[int, ...], options: dict[str, Any], penalty: bool, tmp_path: Path
) -> None:
    def work(runtime: Runtime) -> dict[str, Tensor]:
        layer, image, target = case(kind, shape, **options)
        before = list(layer.state_dict())
        synchronize(layer)
        assert list(layer.state_dict()) == before
        rows = ROWS[runtime.rank]
        found = outcome(layer, image[rows], target[rows], penalty)
        for name in found:
            if name.startswith("gradient of"):  # the engine averages these over ranks
                dist.all_reduce(found[name])
        return found

    whole = outcome(*case(kind, shape, **options), penalty)
    for rank, found in enumerate(among(2, tmp_path / "two", work)):
        assert found.keys() == whole.keys()
        for name, tensor in whole.items():
            expected = tensor[ROWS[rank]] if name in ("out", "gradient") else tensor
            torch.testing.assert_close(found[name], expected, rtol=1e-11, atol=1e-11, msg=name)


def test_batch_statistics_are_those_of_training_and_leave_no_trace() -> None:
    from genlab.distributed.batch_norm import batch_statistics

    torch.manual_seed(0)
    layer, x = nn.BatchNorm2d(3), 5 + 2 * torch.randn(8, 3, 4, 4)
    expected = nn.BatchNorm2d(3)(x)
    layer.eval()
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    with batch_statistics(nn.Sequential(layer)):
        torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer(x), x / (1 + layer.eps) ** 0.5)  # the running ones, of which it has seen nothing
    assert all(torch.equal(before[name], tensor) for name, tensor in layer.state_dict().items())


def test_half_precision_keeps_its_dtype_and_fp32_statistics(tmp_path: Path) -> None:
    """A mean of 128 values taken in bf16 would be off by a hundredth."""

    def work(runtime: Runtime) -> dict[str, Tensor]:
        torch.manual_seed(runtime.rank)
        layer = nn.BatchNorm2d(2)
        synchronize(layer)
        image = (64 * torch.randn(8, 2, 4, 4)).bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            out = layer(image)
        assert out.dtype == torch.bfloat16
        return {"image": image, "mean": layer.running_mean / layer.momentum}

    found = among(2, tmp_path / "two", work)
    exact = torch.cat([each["image"] for each in found]).double().mean((0, 2, 3))
    for each in found:
        torch.testing.assert_close(each["mean"].double(), exact, rtol=1e-5, atol=1e-5)


def test_layers_stay_who_they_are_and_evaluation_asks_nobody() -> None:
    """In evaluation there is no process group to be asked, and none is needed."""
    shared = nn.BatchNorm2d(3)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    image = torch.randn(4, 3, 5, 5)
    expected = copy.deepcopy(model).eval()(image)
    synchronize(model)
    assert model[0] is shared
    assert model[2] is shared
    assert isinstance(shared, nn.BatchNorm2d)
    assert torch.equal(model.eval()(image), expected)
    synchronize(model)  # a second time changes nothing


def test_a_batch_norm_of_somebodys_own_is_refused() -> None:
    class Own(nn.BatchNorm2d):
        def forward(self, input: Tensor) -> Tensor:
            return input

    with pytest.raises(ConfigError, match=r"layer 1 \(Own\)"):
        synchronize(nn.Sequential(nn.ReLU(), Own(3)))
