"""Bounds and estimates against a model whose log p(x) is known, and what is seen in a code."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from genlab.core import rng
from genlab.core.values import Diagnosis, Image
from genlab.evaluation.evaluators.image_grids import Manifold
from genlab.evaluation.evaluators.likelihood.active_units import ActiveUnits, mutual_information, treatment
from genlab.evaluation.evaluators.likelihood.nll import ImportanceSampledNLL
from genlab.models.autoencoders.cvae import CVAE
from genlab.models.autoencoders.iwae import IWAE
from genlab.models.autoencoders.mc_decoder import MonteCarloDecoder
from genlab.models.autoencoders.vae import VAE
from tests.support.evaluated import MemorySplit

SHAPE = (1, 2, 3)
LINEAR = {"name": "mlp", "hidden": []}
SMALL = {"name": "mlp", "hidden": [16], "activation": "tanh"}


class LinearGaussian(VAE):
    """p(z) = N(0, I), p(x|z) = N(Wz + b, σ²I): then p(x) = N(b, WWᵀ + σ²I). The VAE's own sigmoid is left out."""

    def __init__(self) -> None:
        super().__init__(SHAPE, LINEAR, latent_dim=2, likelihood="gaussian", sigma=0.5)
        self.output_distribution.mean = lambda logits: logits  # type: ignore[method-assign]

    def exact(self, x: Tensor) -> Tensor:
        """log p(x) of each image."""
        layer = self.decoder[0]
        covariance = layer.weight @ layer.weight.T + 0.25 * torch.eye(6)
        return MultivariateNormal(layer.bias, covariance).log_prob(x.flatten(1))


@pytest.fixture
def linear() -> LinearGaussian:
    torch.manual_seed(0)
    model = LinearGaussian().requires_grad_(False)
    model.decoder[0].weight.mul_(2)
    rng.seed(0)
    return model


def test_the_importance_sampled_likelihood_is_the_exact_one(linear: LinearGaussian) -> None:
    image = torch.rand(7, *SHAPE)
    for chunk in (50, 20_000):
        values = dict(ImportanceSampledNLL(samples=5000, chunk=chunk).run(linear, MemorySplit(image)))  # type: ignore[arg-type]
        exact = -linear.exact(image)
        assert values["nll"] == pytest.approx(exact.mean().item(), abs=0.05)
        assert values["nll_se"] == pytest.approx(exact.std(correction=0).item() / math.sqrt(7), abs=0.05)
        assert "bits_per_dim" not in values  # a density has none


def test_the_likelihood_is_of_the_first_images_each_binarized_once(linear: LinearGaussian) -> None:
    image = torch.rand(7, *SHAPE)
    evaluator = ImportanceSampledNLL(samples=10, images=3, chunk=20)
    ((each, dimensions),) = evaluator.blocks(linear, MemorySplit(image), 0, 1)  # type: ignore[arg-type]
    assert (len(each), dimensions) == (3, 6)
    assert evaluator.protocol()["pixels"] == "as they are"
    assert "density" in evaluator.protocol()["nll"]
    model = VAE(SHAPE, SMALL, latent_dim=2, binarize=True)
    seen = []
    model.log_weights = lambda x, samples: seen.append(x) or torch.zeros(len(x), samples)  # type: ignore[assignment,func-returns-value]
    ((each, _),) = evaluator.blocks(model, MemorySplit(torch.full((1, *SHAPE), 0.5)), 0, 1)  # type: ignore[arg-type]
    assert all(torch.equal(x, seen[0]) for x in seen)
    assert set(seen[0].unique().tolist()) <= {0.0, 1.0}
    assert each.tolist() == [0.0]  # ten weights of 1
    assert "binarized" in evaluator.protocol()["pixels"]
    assert "probability of black and white" in evaluator.protocol()["nll"]


def binarized(**how: Any) -> Tensor:
    """The pixels whose likelihood is evaluated, for seven gray images."""
    seen: dict[int, Tensor] = {}
    model = VAE(SHAPE, SMALL, latent_dim=2, binarize=True)

    def note(x: Tensor, samples: int) -> Tensor:
        seen.setdefault(len(seen), x)
        return torch.randn(len(x), samples)

    model.log_weights = note  # type: ignore[assignment]
    rng.seed(0)
    dict(ImportanceSampledNLL(**how).run(model, MemorySplit(torch.full((7, *SHAPE), 0.5))))  # type: ignore[arg-type]
    return torch.cat(list(seen.values()))


def test_pixels_depend_neither_on_the_chunk_nor_on_the_codes_nor_on_the_images() -> None:
    whole = binarized(samples=2, chunk=100)
    assert torch.equal(binarized(samples=50, chunk=50), whole)
    assert torch.equal(binarized(samples=3, chunk=7), whole)
    assert torch.equal(binarized(samples=2, chunk=100, images=3), whole[:3])


@torch.no_grad()
def test_what_the_number_is_of_is_said() -> None:
    split: Any = MemorySplit(torch.rand(7, *SHAPE), torch.arange(7) % 2)
    grays, gray = (VAE(SHAPE, SMALL, latent_dim=2, likelihood=name) for name in ("logistic", "bernoulli"))
    evaluator = ImportanceSampledNLL(samples=20)
    values = dict(evaluator.run(grays, split))
    assert values["bits_per_dim"] == pytest.approx(values["nll"] / math.log(2) / 6)  # type: ignore[operator]
    assert "256 levels" in evaluator.protocol()["nll"]
    assert "bits_per_dim" not in dict(evaluator.run(gray, split))
    assert "not a likelihood" in evaluator.protocol()["nll"]
    assert "given" not in evaluator.protocol()
    dict(evaluator.run(CVAE(SHAPE, 2, SMALL, latent_dim=2), split))
    assert evaluator.protocol()["given"] == ["label"]


def test_ranks_share_the_likelihood(linear: LinearGaussian) -> None:
    """The blocks of two ranks are those of one."""
    split: Any = MemorySplit(torch.rand(1100, *SHAPE))
    evaluator = ImportanceSampledNLL(samples=4)
    rng.seed(0)
    whole = dict(evaluator.run(linear, split))
    rng.seed(0)
    (one, n), (two, m) = (evaluator.sums(linear, split, rank, 2) for rank in (1, 0))
    shared = dict(evaluator.figures({name: float(one[name] + two[name]) for name in one}, n + m))
    assert shared == pytest.approx(whole)


def test_with_the_exact_posterior_every_weight_is_the_likelihood(linear: LinearGaussian) -> None:
    """q(z|x) = p(z|x) makes log p(x, z) − log q(z|x) = log p(x) whatever z is drawn."""
    layer = linear.decoder[0]
    precision = torch.eye(2) + layer.weight.T @ layer.weight / 0.25
    # independent dimensions of z are what q can be: rotate W so that the precision is diagonal
    _, rotation = torch.linalg.eigh(precision)
    layer.weight.copy_(layer.weight @ rotation)
    precision = torch.eye(2) + layer.weight.T @ layer.weight / 0.25
    image = torch.rand(4, *SHAPE)
    mean = (image.flatten(1) - layer.bias) @ layer.weight / 0.25 / precision.diagonal()
    log_variance = -precision.diagonal().log().expand(4, 2)
    log_w = linear.importance_weights(image, mean, log_variance, 8)
    torch.testing.assert_close(log_w, linear.exact(image)[:, None].expand(4, 8), rtol=1e-4, atol=1e-4)


def test_the_bound_rises_with_the_number_of_codes_and_stays_below_the_likelihood(linear: LinearGaussian) -> None:
    image = torch.rand(1, *SHAPE)
    bounds = []
    for samples in (1, 5, 50):
        model = IWAE(SHAPE, LINEAR, latent_dim=2, likelihood="gaussian", sigma=0.5, binarize=False, samples=samples)
        model.load_state_dict(linear.state_dict())
        model.output_distribution.mean = lambda logits: logits  # type: ignore[method-assign]
        rng.seed(0)
        bounds.append(-model.loss(image.expand(4000, *SHAPE))["loss"].item())
    assert bounds[0] < bounds[1] < bounds[2] < linear.exact(image).item() + 0.02


def test_with_one_code_the_iwaes_bound_is_the_vaes() -> None:
    torch.manual_seed(0)
    model, image = IWAE(SHAPE, SMALL, latent_dim=2, samples=1, binarize=False), torch.rand(3, *SHAPE).expand
    rng.seed(0)
    one = model.loss(image(3, *SHAPE).repeat(5000, 1, 1, 1))
    rng.seed(1)
    vae = VAE.loss(model, image(3, *SHAPE).repeat(5000, 1, 1, 1))
    assert -one["loss"].item() == pytest.approx(one["elbo"].item(), abs=1e-4)
    assert one["elbo"].item() == pytest.approx(vae["elbo"].item(), abs=0.02)
    assert one["kl"].item() == pytest.approx(vae["kl"].item(), rel=1e-4)


def test_pixels_are_white_as_often_as_they_are_gray() -> None:
    gray = torch.tensor([0.0, 0.25, 1.0]).repeat(2).view(1, *SHAPE)
    rng.seed(0)
    seen = VAE(SHAPE, SMALL, binarize=True).observe(gray.expand(20_000, *SHAPE))
    assert set(seen.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(seen.mean(0, keepdim=True), gray, rtol=0, atol=0.015)
    assert VAE(SHAPE, SMALL).observe(gray) is gray


def test_the_naive_decoders_weights_are_the_bernoulli_likelihood_of_its_codes() -> None:
    torch.manual_seed(0)
    model, image = MonteCarloDecoder(SHAPE, SMALL, latent_dim=2, samples=6), torch.rand(3, *SHAPE)
    rng.seed(4)
    log_w = model.log_weights(image, 6)
    rng.seed(4)
    distribution = torch.distributions.Bernoulli(logits=model.decoder(model.prior(6)), validate_args=False)
    expected = torch.stack([distribution.log_prob(each).sum((1, 2, 3)) for each in image])
    torch.testing.assert_close(log_w, expected)
    rng.seed(4)
    loss = model.loss(image)
    torch.testing.assert_close(loss["loss"], -(expected.exp().mean(1).log()).mean())
    assert 1 <= loss["effective_samples"] <= 6


class Coded(VAE):
    """A model whose posterior is written down: the first number of an image tells the first dimension."""

    spread = 1.0

    def posterior(self, image: Tensor, *conditions: Tensor) -> tuple[Tensor, Tensor]:
        mean = torch.zeros(len(image), self.latent_dim)
        mean[:, 0] = self.spread * image.flatten(1)[:, 0]
        log_variance = torch.zeros_like(mean)
        log_variance[:, 0] = math.log(0.01) if self.spread else 0.0
        return mean, log_variance


def test_active_units_and_their_kl() -> None:
    image = torch.rand(50, *SHAPE)
    model = Coded(SHAPE, SMALL, latent_dim=3)
    values = dict(ActiveUnits(dimensions=True).run(model, MemorySplit(image)))  # type: ignore[arg-type]
    assert float(values["active_units"]) == 1  # type: ignore[arg-type]
    mean = image.flatten(1)[:, 0]
    kl = torch.distributions.kl_divergence(Normal(mean, 0.1), Normal(0.0, 1.0)).mean()
    torch.testing.assert_close(values["kl/0"], kl)
    assert [float(values[f"kl/{j}"]) for j in (1, 2)] == [0, 0]  # type: ignore[arg-type]
    assert float(values["kl_of_code"]) == pytest.approx(kl.item(), rel=1e-5)  # type: ignore[arg-type]
    assert "posterior_collapse" not in values


@pytest.mark.parametrize(
    ("beta", "schedule", "cure", "after"),
    [
        (1.0, "constant", "model.beta_schedule=free_bits", 0.25),
        (4.0, "constant", "model.beta=1", 0.25),
        (1.0, {"name": "linear", "warmup": 0.6}, "model.beta_schedule=free_bits", 0.6),
        (1.0, {"name": "free_bits", "nats": 0.1}, "'model.beta_schedule={name: free_bits, nats: 0.2}'", 0.25),
    ],
)
def test_a_collapsed_posterior_is_named_with_its_cure(beta: float, schedule: Any, cure: str, after: float) -> None:
    model = Coded(SHAPE, SMALL, latent_dim=3, beta=beta, beta_schedule=schedule)
    model.spread = 0.0
    split: Any = MemorySplit(torch.rand(50, *SHAPE))
    found = dict(ActiveUnits().run(model, split))["posterior_collapse"]
    assert isinstance(found, Diagnosis)
    assert found.sentence.startswith("the posterior has collapsed: 0 of 3 latent dimensions")
    assert found.sentence.endswith(f": {cure}")
    assert found.after == after  # until then it may still learn to
    assert not found.due(step=400, total=400)  # a run too short to tell


def test_a_cure_is_a_key_that_the_model_has() -> None:
    """A VAE-GAN has no schedules of β."""

    class Bare(Coded):
        def __init__(self, beta: float) -> None:
            super().__init__(SHAPE, SMALL, latent_dim=3, beta=beta)

    assert treatment(Bare(1.0)) == "model.beta=0.1"
    assert treatment(Bare(4.0)) == "model.beta=1"


def test_mutual_information_of_a_gaussian_channel() -> None:
    """x ~ N(0, 1), z = x + noise of σ²: I = ½ log(1 + 1/σ²); and of codes far apart, log N."""
    torch.manual_seed(0)
    rng.seed(0)
    x, variance = torch.randn(3000, 1), 0.25
    found = mutual_information(x, torch.full_like(x, math.log(variance)))
    assert found.item() == pytest.approx(0.5 * math.log(1 + 1 / variance), abs=0.05)
    apart = torch.arange(64.0)[:, None] * 100
    assert mutual_information(apart, torch.zeros_like(apart)).item() == pytest.approx(math.log(64), abs=1e-9)


def test_the_manifold_lies_at_the_quantiles_of_the_prior() -> None:
    model = VAE(SHAPE, SMALL, latent_dim=2)
    seen = []
    model.decode = lambda code: seen.append(code) or torch.zeros(len(code), *SHAPE)  # type: ignore[method-assign,func-returns-value]
    ((name, image),) = Manifold(side=3).run(model, None)
    assert name == "manifold"
    assert isinstance(image, Image)
    quantile = Normal(0.0, 1.0).icdf(torch.tensor(5 / 6)).item()
    (codes,) = seen
    assert codes[0].tolist() == pytest.approx([-quantile, quantile], abs=1e-5)  # the upper left corner
    assert codes[-1].tolist() == pytest.approx([quantile, -quantile], abs=1e-5)
    assert codes[4].tolist() == pytest.approx([0, 0], abs=1e-6)
    assert not Manifold().applies(VAE(SHAPE, SMALL, latent_dim=3))
    assert not Manifold().applies(CVAE(SHAPE, 4, SMALL, latent_dim=2))
