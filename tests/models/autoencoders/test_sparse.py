"""Sparse autoencoders: the penalties against torch.distributions and plain sums, the k largest numbers."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence

from genlab.errors import ConfigError
from genlab.models.autoencoders.sparse import KeepLargest, SparseAutoencoder, kl_to_rate
from tests.support.models import AUTOENCODER_SHAPE, autoencoder


def test_kl_to_a_rate_is_that_of_bernoulli_units() -> None:
    mean = torch.tensor([0.01, 0.05, 0.4, 0.999])
    expected = kl_divergence(Bernoulli(torch.tensor(0.05)), Bernoulli(mean)).sum()
    torch.testing.assert_close(kl_to_rate(mean, 0.05), expected)
    assert kl_to_rate(torch.tensor([0.0, 1.0]), 0.05).isfinite()


def test_the_loss_is_the_reconstruction_and_the_weighted_penalty() -> None:
    model = autoencoder("sparse_ae", penalty="l1", penalty_weight=0.7)
    image = torch.rand(4, *AUTOENCODER_SHAPE)
    values = model.loss(image)
    torch.testing.assert_close(values["loss"], values["reconstruction"] + 0.7 * values["penalty"])
    torch.testing.assert_close(values["penalty"], model.encode(image).abs().sum(1).mean())
    torch.testing.assert_close(values["reconstruction"], values["squared_error"])


def test_the_kl_penalty_uses_the_mean_of_the_batch() -> None:
    model = autoencoder("sparse_ae", code="sigmoid", rate=0.2)
    assert isinstance(model, SparseAutoencoder)
    code = torch.tensor([[0.1, 0.9], [0.3, 0.1]])
    torch.testing.assert_close(model.sparsity(code), kl_to_rate(torch.tensor([0.2, 0.5]), 0.2))


def test_a_rate_needs_codes_between_0_and_1() -> None:
    with pytest.raises(ConfigError, match=r"model\.code=sigmoid"):
        autoencoder("sparse_ae", penalty="kl")


def test_k_sparse_codes_have_k_numbers() -> None:
    model = autoencoder("k_sparse_ae", k=2)
    assert (model.encode(torch.rand(4, *AUTOENCODER_SHAPE)) != 0).sum(1).tolist() == [2] * 4


def test_only_the_largest_stay_and_learn() -> None:
    code = torch.tensor([[3.0, -1.0, 2.0, 0.5], [-4.0, -3.0, -2.0, -1.0]], requires_grad=True)
    kept = KeepLargest(2)(code)
    assert kept.tolist() == [[3, 0, 2, 0], [0, 0, -2, -1]]
    kept.sum().backward()
    assert code.grad is not None
    assert code.grad.tolist() == [[1, 0, 1, 0], [0, 0, 1, 1]]
    assert torch.equal(KeepLargest(9)(code), code)
