"""PixelCNN on images: the order of pixels, probabilities that sum to 1, samples that follow them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.likelihood.log_likelihood import LogLikelihood
from genlab.models.autoregressive.pixelcnn import PixelCNN
from genlab.nn.networks.pixelcnn import gated_pixelcnn
from tests.support.evaluated import MemorySplit
from tests.support.models import states

NETWORK = {"name": "gated_pixelcnn", "channels": 4, "layers": 3, "first": 1}


def pixelcnn(shape: tuple[int, int, int], spread: float = 0.0, **changes: Any) -> PixelCNN:
    """A small PixelCNN; with `spread`, its weights are large enough for sharp distributions."""
    torch.manual_seed(0)
    model = PixelCNN(shape, NETWORK, **changes)
    if spread:
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, 0, spread)
    return model.eval()


@pytest.mark.parametrize("dilations", [(1,), (1, 2), (2, 3)])
def test_a_pixel_depends_on_all_before_it_and_on_none_after(dilations: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    net = gated_pixelcnn((2, 6, 7), (3, 6, 7), channels=8, layers=6, first=3, dilations=dilations)
    x = torch.randn(1, 2, 6, 7, requires_grad=True)
    out = net(x)
    for i, j in itertools.product(range(6), range(7)):
        (gradient,) = torch.autograd.grad(out[0, :, i, j].sum(), x, retain_graph=True)
        seen = (gradient[0].abs().sum(0) > 0).flatten()
        assert not seen[7 * i + j :].any(), (i, j)
        assert seen[: 7 * i + j].all(), (i, j)


@pytest.mark.parametrize("channels", [1, 3])
def test_probabilities_of_all_binary_images_sum_to_one(channels: int) -> None:
    shape = (channels, 2, 2)
    model = pixelcnn(shape, spread=0.7, likelihood="bernoulli")
    with torch.no_grad():
        log_p = model.log_likelihood(states(4 * channels).unflatten(1, shape))
    assert float(log_p.double().exp().sum()) == pytest.approx(1, abs=1e-4)
    assert log_p.max() > math.log(0.05)


@pytest.mark.parametrize("likelihood", ["softmax", "logistic_mixture"])
def test_probabilities_of_the_256_levels_sum_to_one(likelihood: Any) -> None:
    """Of one pixel whatever the other is: p(x₂|x₁), summed over x₂, and p(x₁)."""
    model = pixelcnn((1, 1, 2), spread=0.5, likelihood=likelihood)
    levels = torch.arange(256) / 255
    pairs = torch.cartesian_prod(levels, levels).view(-1, 1, 1, 2)
    with torch.no_grad():
        log_p = model.log_likelihood(pairs).double()
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=2e-3)


def test_samples_follow_the_distribution() -> None:
    """4,000 images against the probabilities of all 16, by χ² (15 degrees of freedom: 38 is one in 1,000)."""
    model = pixelcnn((1, 2, 2), spread=0.7, likelihood="bernoulli")
    rng.seed(0)
    with torch.no_grad():
        p = model.log_likelihood(states(4).view(-1, 1, 2, 2)).exp()
        drawn = (model.sample(4000).flatten(1) @ torch.tensor([8.0, 4, 2, 1])).long()
    expected = 4000 * p
    assert p.max() < 0.9
    assert float(((drawn.bincount(minlength=16) - expected) ** 2 / expected).sum()) < 38


@pytest.mark.parametrize(("likelihood", "channels"), [("softmax", 1), ("logistic_mixture", 1), ("logistic_mixture", 3)])
def test_samples_of_256_levels_have_the_models_own_entropy(likelihood: Any, channels: int) -> None:
    """E[−log p(x)] over samples is the entropy; for one pixel it can be computed from the model's own probabilities."""
    model = pixelcnn((channels, 1, 1), spread=0.5, likelihood=likelihood)
    rng.seed(1)
    with torch.no_grad():
        drawn = model.sample(4000)
        nll = -model.log_likelihood(drawn).double()
        torch.testing.assert_close(model.observe(drawn), drawn)
        if channels == 1:
            log_p = model.log_likelihood((torch.arange(256) / 255).view(-1, 1, 1, 1)).double()
            entropy = float(-(log_p.exp() * log_p).sum())
            assert float(nll.mean()) == pytest.approx(entropy, abs=4 * float(nll.std()) / math.sqrt(4000))
    assert nll.isfinite().all()


def test_only_the_receptive_field_is_computed() -> None:
    """A network that may look at everything samples the same images; one that looks less far does not."""
    model = pixelcnn((1, 9, 8), spread=0.4, likelihood="bernoulli")
    stacks: Any = model.network
    assert stacks.past == 1 + 1 + 2
    drawn = []
    for past in (4, 99, 1):
        stacks.past = past
        rng.seed(0)
        with torch.no_grad():
            drawn.append(model.sample(20))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_color_needs_a_mixture_and_the_network_an_order() -> None:
    with pytest.raises(ConfigError, match="logistic_mixture"):
        pixelcnn((3, 4, 4), likelihood="softmax")
    with pytest.raises(ConfigError, match="gated_pixelcnn"):
        PixelCNN((1, 4, 4), {"name": "mlp", "hidden": [3]})
    with pytest.raises(ConfigError, match=r"use model\.network\.name=gated_pixelcnn"):  # that one is of symbols
        PixelCNN((1, 4, 4), {"name": "pixelcnn"}, likelihood="bernoulli")


def evaluated(model: PixelCNN, image: Tensor, **keys: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    evaluator = LogLikelihood(**keys)
    rng.seed(0)
    with torch.no_grad():
        return dict(evaluator.run(model, MemorySplit(image))), evaluator.protocol()  # type: ignore[arg-type]


def test_the_evaluator_reports_nats_and_bits() -> None:
    image = (torch.rand(7, 3, 2, 2) * 255).round() / 255
    model = pixelcnn((3, 2, 2))
    values, protocol = evaluated(model, image)
    with torch.no_grad():
        nats = -model.log_likelihood(image).double()
    assert values["nll"] == pytest.approx(float(nats.mean()), rel=1e-6)
    assert values["nll_se"] == pytest.approx(float(nats.std(correction=0)) / math.sqrt(7), rel=1e-3)
    assert values["bits_per_dim"] == pytest.approx(float(nats.mean()) / 12 / math.log(2), rel=1e-6)
    assert protocol["kind"] == "exact"
    assert "256 levels" in protocol["nll"]


def test_the_evaluator_binarizes_each_image_once() -> None:
    """The same pixels whatever the batch size; for gray 0 and 1 the exact value."""
    model, image = pixelcnn((1, 2, 2), spread=0.7, likelihood="bernoulli"), torch.rand(9, 1, 2, 2)
    first, protocol = evaluated(model, image, batch_size=2)
    second, _ = evaluated(model, image, batch_size=9)
    assert first["nll"] == pytest.approx(second["nll"], rel=1e-6)
    assert "binarized" in protocol["pixels"]
    values, _ = evaluated(model, image.round())
    with torch.no_grad():
        assert values["nll"] == pytest.approx(-float(model.log_likelihood(image.round()).mean()), rel=1e-6)
