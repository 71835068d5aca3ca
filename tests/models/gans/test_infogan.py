"""InfoGAN's bound against an information that is known, and categories against classes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.image_grids import CodeTraversals
from genlab.evaluation.evaluators.latent.clustering_accuracy import ClusteringAccuracy, error, one_to_one
from genlab.models.gans.infogan import InfoGAN, LatentCodes
from tests.support.evaluated import MemorySplit

SHAPE = (1, 8, 8)
G, D = {"name": "dcgan_generator", "base_channels": 4}, {"name": "dcgan_discriminator", "base_channels": 4}
HEAD = {"name": "mlp", "hidden": [6]}


def infogan(**changes: Any) -> InfoGAN:
    torch.manual_seed(0)
    networks = {"generator": G, "discriminator": D, "head": HEAD}
    return InfoGAN(SHAPE, **{**networks, "categories": [4, 2], "continuous": 3, "latent_dim": 5, **changes})


def test_codes_follow_their_law() -> None:
    rng.seed(0)
    codes = LatentCodes([4, 2], 3).sample(8000, like=torch.zeros(1))
    assert codes.shape == (8000, 9)
    for part, k in zip(codes[:, :6].split([4, 2], 1), (4, 2), strict=True):
        assert part.unique().tolist() == [0, 1]
        assert torch.equal(part.sum(1), torch.ones(8000))
        torch.testing.assert_close(part.mean(0), torch.full((k,), 1 / k), rtol=0.08, atol=0)
    numbers = codes[:, 6:]
    assert numbers.min() >= -1
    assert numbers.max() < 1
    torch.testing.assert_close(numbers.var(0), torch.full((3,), 1 / 3), rtol=0.05, atol=0)
    assert np.abs(np.corrcoef(codes[:, [0, 4, 6, 7, 8]].T.numpy()) - np.eye(5)).max() < 0.05


def test_the_categorical_bound_is_the_information_of_a_known_channel() -> None:
    """Of a channel that keeps a category with probability 0.9, Q being its true posterior: log k − H, by summation."""
    k, kept = 4, 0.9
    law = LatentCodes([k], 0)
    channel = torch.full((k, k), (1 - kept) / (k - 1)).fill_diagonal_(kept)
    c, x = (each.flatten() for each in torch.meshgrid(torch.arange(k), torch.arange(k), indexing="ij"))
    times = (300 * channel[c, x]).round().long()  # every pair as often as it comes
    code = torch.eye(k)[c.repeat_interleave(times)]
    q = channel.log()[x.repeat_interleave(times)]
    information = math.log(k) + kept * math.log(kept) + (1 - kept) * math.log((1 - kept) / (k - 1))
    assert law.bounds(code, q)["categorical"].item() == pytest.approx(information, abs=1e-5)
    wrong = law.bounds(code, q * 2)["categorical"].item()
    assert wrong < information  # a Q that is not the posterior gives less: it is a lower bound


def test_the_continuous_bound_is_that_of_a_gaussian() -> None:
    """Q's mean is the code plus N(0, σ²): log 2 − H(N) at the σ that is right, less at another."""
    law, sigma = LatentCodes([], 2), torch.tensor([0.05, 0.2])
    rng.seed(0)
    code = law.sample(200_000, like=sigma)
    q = code + sigma * rng.normal(*code.shape, like=code)
    with torch.no_grad():
        law.log_sigma.copy_(sigma.log())
    information = sum(math.log(2) - 0.5 * math.log(2 * math.pi * math.e * s**2) for s in sigma.tolist())
    assert law.bounds(code, q)["continuous"].item() == pytest.approx(information, abs=0.01)
    (gradient,) = torch.autograd.grad(law.bounds(code, q)["continuous"], law.log_sigma)
    assert gradient.abs().max() < 0.02  # the scale is at its optimum
    with torch.no_grad():
        law.log_sigma.add_(0.5)
    assert law.bounds(code, q)["continuous"].item() < information - 0.1


def test_a_q_that_knows_nothing_has_no_information() -> None:
    law = LatentCodes([10], 2)
    rng.seed(0)
    code = law.sample(20_000, like=torch.zeros(1))
    bounds = law.bounds(code, torch.zeros_like(code))
    assert bounds["categorical"].item() == pytest.approx(0, abs=1e-5)
    assert -0.4 < bounds["continuous"].item() < 0  # a Gaussian is no uniform law: ½ log(πe/6) below 0 for each number


def test_the_generator_and_q_are_paid_for_information() -> None:
    model = infogan(categorical_weight=0.5, continuous_weight=0.2).eval()
    real, fake, code = model.shared_forward(torch.rand(6, *SHAPE))
    on_fake, q = model.logits_and_codes(fake)
    bounds = model.codes.bounds(code, q)
    paid = 0.5 * bounds["categorical"] + 0.2 * bounds["continuous"]
    values = model.generator_loss(real, fake, code)
    torch.testing.assert_close(values["loss"], model.gan_loss.generator(on_fake, None) - paid)
    torch.testing.assert_close(values["categorical_information"], bounds["categorical"])
    torch.testing.assert_close(
        model.discriminator_loss(real, fake, code)["loss"],
        model.gan_loss.discriminator(model.discriminator_logits(real), on_fake),
    )


def test_q_moves_with_the_generator_and_leaves_the_discriminator_alone() -> None:
    model = infogan()
    _, generate = model.phases()
    assert generate.module is not None
    moved = {id(p) for p in generate.module.parameters()}
    assert moved == {id(p) for part in (model.generator, model.head, model.codes) for p in part.parameters()}


def test_regularizers_work_with_codes_or_are_refused() -> None:
    for regularizer in ("r1", "instance_noise"):
        model = infogan(regularizers={regularizer: {}})
        drawn = model.shared_forward(torch.rand(4, *SHAPE))
        for phase in model.phases():
            model.zero_grad(set_to_none=True)
            phase.objective(*drawn)["loss"].backward(retain_graph=True)
    for regularizer in ("pack", "unroll", "consensus"):
        with pytest.raises(ConfigError, match=rf"InfoGAN cannot use '{regularizer}'"):
            infogan(regularizers={regularizer: {}})


def test_a_walk_changes_one_code_and_takes_every_category() -> None:
    model = infogan()
    code = model.prior(1)
    walk = model.traverse(code, 1, torch.tensor([-2.0, 0.0, 2.0]))
    assert walk.shape == (12, 5 + 6 + 3)
    assert torch.equal(walk[:, :5], code[:, :5].expand(12, 5))  # one noise
    assert walk[:, 5:9].argmax(1).tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert torch.equal(walk[:, 9:11], code[:, 9:11].expand(12, 2))  # the further category stands still
    assert walk[:, 11:].tolist() == [[0, value, 0] for value in (-2, 0, 2)] * 4
    pictures = dict(CodeTraversals(columns=5).run(model.eval(), None))
    assert sorted(pictures) == ["code_traversals_1", "code_traversals_2", "code_traversals_3"]
    assert not CodeTraversals().applies(infogan(continuous=0))


class Sorter:
    """Finds the category that is painted into an image."""

    clusters = 4

    def cluster(self, image: Tensor) -> Tensor:
        return image.flatten(1).argmax(1) % 4


def test_clustering_accuracy_names_categories_by_training_images() -> None:
    category = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3])
    label = torch.tensor([2, 2, 1, 0, 0, 1, 1, 1])  # category 3 is a second one of class 1
    image = torch.eye(64)[category].view(8, *SHAPE)
    split: Any = MemorySplit(image, label)
    split.sibling = lambda _: split
    evaluator = ClusteringAccuracy()
    assert evaluator.applies(infogan())
    found = dict(evaluator.run(Sorter(), split))  # type: ignore[arg-type]
    assert found["error"] == pytest.approx(2 / 8)  # one 1 in category 0, and category 3, which no class is left for
    assert found["majority_error"] == pytest.approx(1 / 8)


def test_the_assignment_is_the_best_of_all() -> None:
    import itertools

    counts = np.random.default_rng(0).integers(0, 50, (4, 4))
    best = max(sum(counts[i, j] for i, j in enumerate(order)) for order in itertools.permutations(range(4)))
    assert error(counts, one_to_one(counts)) == pytest.approx(1 - best / counts.sum())
    assert sorted(one_to_one(counts[:, :2]).tolist()) == [-1, -1, 0, 1]
