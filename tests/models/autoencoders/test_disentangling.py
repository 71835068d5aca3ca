"""β-TCVAE and FactorVAE: the total correlation is that of known distributions, and is weighed as the papers say."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.models.autoencoders.beta_tcvae import BetaTCVAE
from genlab.models.autoencoders.vae import VAE
from genlab.nn.losses.total_correlation import total_correlation

SHAPE = (1, 3, 3)
NETWORK = {"name": "mlp", "hidden": [8], "activation": "tanh"}


def codes_of(covariance: Tensor, n: int, noise: float) -> tuple[Tensor, Tensor, Tensor]:
    """Samples, means and log variances of n posteriors N(μ, noise) whose mixture is N(0, covariance)."""
    source = torch.Generator().manual_seed(0)
    spread = torch.linalg.cholesky(covariance - noise * torch.eye(len(covariance)))
    mean = torch.randn(n, len(covariance), generator=source) @ spread.T
    z = mean + math.sqrt(noise) * torch.randn(mean.shape, generator=source)
    return z, mean, torch.full_like(mean, math.log(noise))


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.85])
def test_the_total_correlation_of_a_gaussian_is_minus_half_its_log_determinant(correlation: float) -> None:
    covariance = torch.tensor([[1.0, correlation], [correlation, 1.0]])
    exact = -0.5 * math.log(1 - correlation**2)
    assert total_correlation(*codes_of(covariance, 3000, noise=0.1)) == pytest.approx(exact, abs=0.05)


def test_the_total_correlation_by_a_loop() -> None:
    z, mean, log_variance = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(1)).unbind()
    density = [
        [[torch.distributions.Normal(mean[j, d], (0.5 * log_variance[j, d]).exp()).log_prob(z[i, d]).exp()
          for d in range(2)] for j in range(4)] for i in range(4)
    ]  # fmt: skip
    expected = 0.0
    for i in range(4):
        joint = sum(density[i][j][0] * density[i][j][1] for j in range(4)) / 4
        marginals = [sum(density[i][j][d] for j in range(4)) / 4 for d in range(2)]
        expected += math.log(joint / (marginals[0] * marginals[1])) / 4
    assert total_correlation(z, mean, log_variance) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("beta", [1.0, 6.0])
def test_beta_weighs_the_total_correlation_once_more_than_the_vae(beta: float) -> None:
    torch.manual_seed(0)
    model, image = BetaTCVAE(beta, image_shape=SHAPE, network=NETWORK, latent_dim=3), torch.rand(5, *SHAPE)
    vae = VAE(SHAPE, NETWORK, latent_dim=3)
    vae.load_state_dict(model.state_dict())
    rng.seed(0)
    values = model.loss(image)
    rng.seed(0)
    plain = vae.loss(image)
    expected = plain["loss"] + (beta - 1) * values["total_correlation"]
    assert values["loss"].item() == pytest.approx(expected.item())
    assert values["elbo"].item() == plain["elbo"].item()
