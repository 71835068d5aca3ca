"""β-TCVAE and FactorVAE: the total correlation is that of known distributions, and is weighed as the papers say."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.distributed.runtime import Runtime
from genlab.models.autoencoders.beta_tcvae import BetaTCVAE
from genlab.models.autoencoders.factor_vae import FactorVAE, permuted
from genlab.models.autoencoders.vae import VAE
from genlab.nn.losses.total_correlation import total_correlation
from tests.support.gloo import among

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


def test_permuted_codes_keep_each_dimension_and_lose_the_dependence() -> None:
    rng.seed(0)
    z = torch.randn(500, 1).expand(500, 3) * torch.tensor([1.0, 2, 3])
    shuffled = permuted(z, training=False)
    assert torch.equal(shuffled.sort(0).values, z.sort(0).values)
    assert (torch.corrcoef(shuffled.T) - torch.eye(3)).abs().max() < 0.15


def test_two_ranks_permute_as_one(tmp_path: Path) -> None:
    z = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))

    def work(runtime: Runtime) -> Tensor:
        rng.seed(5)
        return permuted(z[3 * runtime.rank : 3 * runtime.rank + 3], training=True)

    rng.seed(5)
    assert torch.equal(torch.cat(among(2, tmp_path, work)), permuted(z, training=True))


def test_the_discriminators_logit_is_the_total_correlation() -> None:
    """Trained on codes of a known Gaussian, its mean logit approaches −½ log det of the correlations."""
    torch.manual_seed(0)
    rng.seed(0)
    network = {"name": "mlp", "hidden": [32, 32], "activation": "tanh"}
    model = FactorVAE(network, gamma=3.0, image_shape=SHAPE, network=NETWORK, latent_dim=2)
    covariance = torch.tensor([[1.0, 0.8], [0.8, 1.0]])
    factor = torch.linalg.cholesky(covariance)
    model.posterior = lambda image, *conditions: (  # type: ignore[method-assign]
        torch.randn(len(image), 2) @ factor.T,
        torch.full((len(image), 2), -20.0),
    )
    adam = torch.optim.Adam(model.discriminator.parameters(), lr=1e-2)
    image = torch.rand(256, *SHAPE)
    for _ in range(400):
        adam.zero_grad()
        model.discriminator_loss(image)["loss"].backward()
        adam.step()
    z = torch.randn(5000, 2) @ factor.T
    weight, value = model.further_terms(z, z, z)["total_correlation"]
    assert weight == 3.0
    assert value.item() == pytest.approx(-0.5 * math.log(1 - 0.8**2), abs=0.12)


def test_the_two_phases_share_no_parameter_and_the_vae_leaves_the_discriminator_alone() -> None:
    model = FactorVAE(NETWORK, image_shape=SHAPE, network=NETWORK, latent_dim=3, likelihood="gaussian")
    vae, discriminator = ({id(p) for p in phase.module.parameters()} for phase in model.phases() if phase.module)
    assert not vae & discriminator
    assert vae | discriminator == {id(p) for p in model.parameters()}
    assert model.monitor == "vae/loss"
