"""Clusters and spectra of codes that are known."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.model import Model
from genlab.core.values import Diagnosis
from genlab.evaluation.evaluators.latent.clustering import Clustering
from genlab.evaluation.evaluators.latent.spectrum import Spectrum, effective_rank, mean_correlation, variation
from genlab.registry import MODELS, discover
from tests.support.evaluated import MemorySplit
from tests.support.models import shrunk, spec_of


class Given(Model):
    """The code of an image is a row of a table; the image's first pixel is its number."""

    def __init__(self, codes: Tensor, latent_dim: int = 40) -> None:
        super().__init__()
        self.codes, self.scale = codes, nn.Parameter(torch.ones(()))

    def encode(self, image: Tensor) -> Tensor:
        return self.codes[image[:, 0, 0, 0].long()]


def split_of(n: int, label: Tensor | None = None) -> Any:
    return MemorySplit(torch.arange(n, dtype=torch.float32)[:, None, None, None].expand(n, 1, 4, 4), label)


def measured(evaluator: Any, codes: Tensor, label: Tensor | None = None) -> dict[str, Any]:
    rng.seed(0)
    return dict(evaluator.run(Given(codes), split_of(len(codes), label)))


def test_separate_clusters_are_the_classes_and_random_codes_are_not() -> None:
    label = torch.arange(4).repeat(50)
    noise = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    found = measured(Clustering(), nn.functional.one_hot(label).float() + 0.01 * noise, label)
    assert found == {"nmi": pytest.approx(1), "ari": pytest.approx(1)}
    random = measured(Clustering(), noise, label)
    assert abs(random["ari"]) < 0.05
    assert random["nmi"] < 0.1
    halves = measured(Clustering(clusters=2), nn.functional.one_hot(label // 2).float() + 0.01 * noise[:, :2], label)
    assert halves["nmi"] == pytest.approx(2 / 3)  # I = log 2, the mean of log 2 and log 4 is 1.5 log 2


def test_the_effective_rank_of_known_spectra() -> None:
    basis = torch.linalg.qr(torch.randn(100, 5, generator=torch.Generator().manual_seed(0)).double())[0]
    basis = torch.linalg.qr(basis - basis.mean(0))[0]  # centered and orthonormal
    assert effective_rank(basis) == pytest.approx(5)
    assert effective_rank(basis * torch.tensor([3.0, 3, 0, 0, 0])) == pytest.approx(2)
    assert effective_rank(basis[:, :1] @ torch.ones(1, 4).double()) == pytest.approx(1)
    assert effective_rank(torch.ones(7, 3).double()) == 0


def test_correlation_and_variation_by_hand() -> None:
    line = torch.linspace(-1, 1, 20).double()
    assert mean_correlation(torch.stack([line, -2 * line, line.square()], 1)) == pytest.approx(1 / 3, abs=1e-6)
    assert mean_correlation(torch.stack([line, torch.ones(20)], 1)) == 0
    assert variation(torch.tensor([[3.0, 1], [3, -1]])) == pytest.approx((1 / 10) ** 0.5)
    assert variation(torch.full((4, 2), 5.0)) == variation(torch.zeros(4, 2)) == 0


def test_a_collapsed_code_is_named_with_what_helps_and_a_healthy_one_is_not() -> None:
    healthy = torch.randn(500, 40, generator=torch.Generator().manual_seed(0))
    assert "dimensional_collapse" not in measured(Spectrum(), healthy)
    flat = healthy[:, :1] @ torch.ones(1, 40) + 1e-4 * healthy
    sentence = measured(Spectrum(), flat)["dimensional_collapse"]
    assert isinstance(sentence, Diagnosis)
    assert "the code has collapsed: effective rank 1." in sentence.sentence
    assert sentence.sentence.endswith("model.latent_dim=2")
    same = measured(Spectrum(), 1 + 1e-4 * healthy)["dimensional_collapse"]
    assert "codes differ by 0.01 % of their norm" in same.sentence


@pytest.mark.parametrize(("preset", "ending"), [("simclr", "model.temperature=0.25"), ("vicreg", "model.variance=50")])
def test_models_of_two_views_have_their_own_treatment(preset: str, ending: str) -> None:
    discover()
    model = MODELS.build(spec_of(preset), "model", image_shape=(1, 8, 8), num_classes=2).eval()
    with torch.no_grad():
        model.encoder[-1].weight.zero_()
        found: dict[str, Any] = dict(Spectrum().run(model, MemorySplit(torch.rand(30, 1, 8, 8))))  # type: ignore[arg-type]
    assert found["dimensional_collapse"].sentence.endswith(ending)


@pytest.mark.parametrize(("preset", "key"), [("mae", "model.width"), ("rbm", None), ("kmeans", None)])
def test_a_treatment_names_no_key_that_the_model_lacks(preset: str, key: str | None) -> None:
    discover()
    model = MODELS.build(shrunk(spec_of(preset)), "model", image_shape=(1, 8, 8)).eval()
    model.encode = lambda image: torch.ones(len(image), 6)
    found: dict[str, Any] = dict(Spectrum().run(model, MemorySplit(torch.rand(30, 1, 8, 8))))  # type: ignore[arg-type]
    assert re.findall(r"model\.\w+", found["dimensional_collapse"].sentence) == ([key] if key else [])
