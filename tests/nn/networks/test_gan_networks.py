"""Spectral norm, what a discriminator sees of its batch, and the networks that have them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.nn.layers.minibatch import MinibatchDeviation, MinibatchDiscrimination
from genlab.nn.layers.spectral import spectral
from genlab.registry import NETWORKS


def largest(weight: Tensor) -> float:
    return float(torch.linalg.matrix_norm(weight.detach().flatten(1), ord=2))


@pytest.mark.parametrize("layer", [nn.Linear(20, 9), nn.Conv2d(3, 8, 4)])
def test_a_normalized_weights_largest_singular_value_is_1(layer: nn.Module) -> None:
    torch.manual_seed(0)
    spectral(layer)
    for _ in range(100):
        weight = layer.weight
    assert largest(weight) == pytest.approx(1, abs=1e-4)  # type: ignore[arg-type]


def test_the_estimate_follows_in_training_only_and_is_part_of_the_state() -> None:
    layer = spectral(nn.Linear(6, 5))
    norm = layer.parametrizations.weight[0]  # type: ignore[union-attr, index]
    layer.eval()
    before = norm.u.clone()
    layer(torch.ones(1, 6))
    assert torch.equal(norm.u, before)
    layer.train()
    layer(torch.ones(1, 6))
    assert not torch.equal(norm.u, before)
    assert {name for name in layer.state_dict() if name.endswith((".u", ".v"))} == {
        "parametrizations.weight.0.u",
        "parametrizations.weight.0.v",
    }
    twin = copy.deepcopy(layer)
    torch.testing.assert_close(twin(torch.ones(1, 6)), layer(torch.ones(1, 6)))


def test_its_gradient_is_that_of_the_quotient_and_half_precision_does_not_change_it() -> None:
    torch.manual_seed(0)
    layer = spectral(nn.Linear(6, 5, bias=False)).eval()
    norm, raw = layer.parametrizations.weight[0], layer.parametrizations.weight.original  # type: ignore[union-attr, index]
    x = torch.randn(3, 6)
    [found] = torch.autograd.grad((x @ layer.weight.t()).square().sum(), raw)
    again = raw.detach().clone().requires_grad_()
    [expected] = torch.autograd.grad((x @ (again / (norm.u @ again @ norm.v)).t()).square().sum(), again)
    torch.testing.assert_close(found, expected)
    exact = again / (norm.u @ again @ norm.v)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer.weight, exact)


def test_deviation_is_that_of_groups_of_consecutive_rows() -> None:
    x = torch.randn(10, 3, 2, 2)
    seen = MinibatchDeviation(4)(x)
    assert seen.shape == (10, 4, 2, 2)
    torch.testing.assert_close(seen[:, :3], x)
    for rows in (slice(0, 4), slice(4, 8), slice(8, 10)):  # the last group is what is left
        expected = x[rows].std(0, unbiased=False).mean()
        torch.testing.assert_close(seen[rows, 3], expected.expand(rows.stop - rows.start, 2, 2), rtol=1e-4, atol=1e-6)
    alike = MinibatchDeviation(4)(x[:1].expand(4, -1, -1, -1).clone().requires_grad_())
    [gradient] = torch.autograd.grad(alike.sum(), alike)
    assert gradient.isfinite().all()


@pytest.mark.parametrize(("n", "size"), [(8, 4), (6, 3), (3, 3), (5, 1)])
def test_even_groups_are_as_large_as_divides_the_batch(n: int, size: int) -> None:
    x = torch.randn(n, 3, 2, 2)
    seen = MinibatchDeviation(4, even=True)(x)
    torch.testing.assert_close(seen, torch.cat([MinibatchDeviation(4)(part) for part in x.split(size)]))


def test_discrimination_is_the_sum_over_the_group() -> None:
    torch.manual_seed(0)
    layer, x = MinibatchDiscrimination(5, kernels=3, dims=2, size=4), torch.randn(6, 5)
    with torch.no_grad():
        layer.tensor.normal_()
    found = layer(x)
    assert found.shape == (6, 8)
    matrices = torch.einsum("nf,fbc->nbc", x, layer.tensor)
    for group in (range(4), range(4, 6)):
        for i in group:
            expected = sum(torch.exp(-(matrices[i] - matrices[j]).abs().sum(1)) for j in group)
            torch.testing.assert_close(found[i, 5:], expected)


@pytest.mark.parametrize("minibatch", ["none", "deviation", "discrimination"])
@pytest.mark.parametrize(
    ("name", "norm"),
    [("dcgan_discriminator", n) for n in ("batch", "layer", "spectral", "none")]
    + [("resnet_discriminator", n) for n in ("spectral", "none")],
)
def test_every_discriminator_takes_any_norm_and_sees_its_batch(name: str, norm: str, minibatch: str) -> None:
    spec = {"name": name, "base_channels": 2, "norm": norm, "minibatch": minibatch}
    network = NETWORKS.build(spec, "network", inp=(3, 32, 24), out=2)
    x = torch.randn(8, 3, 32, 24, requires_grad=True)
    logits = network(x)
    assert logits.shape == (8, 2)
    [gradient] = torch.autograd.grad(logits[:, 0].sum(), x, create_graph=True)
    gradient.square().sum().backward()  # a penalty can be differentiated
    [gradient] = torch.autograd.grad(network.eval()(x)[0].sum(), x)
    assert bool(gradient[1:].any()) is (minibatch != "none")  # whether another image counts


@pytest.mark.parametrize("size", [(1, 8, 8), (3, 28, 20), (1, 64, 64)])
def test_the_residual_generator_makes_images_of_that_size(size: tuple[int, int, int]) -> None:
    network = NETWORKS.build({"name": "resnet_generator", "base_channels": 2}, "network", inp=5, out=size)
    assert network(torch.randn(3, 5)).shape == (3, *size)


@pytest.mark.parametrize("name", ["resnet_generator", "resnet_discriminator"])
def test_a_misplaced_network_says_what_it_maps(name: str) -> None:
    places: list[dict[str, Any]] = [{"inp": 5, "out": 5}, {"inp": (1, 8, 8), "out": (1, 8, 8)}]
    for place in places:
        with pytest.raises(ConfigError, match=f"network '{name}' maps"):
            NETWORKS.build({"name": name}, "network", **place)
