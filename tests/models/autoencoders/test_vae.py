"""The VAE's bound against torch.distributions, and the autoencoder's errors against their definitions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.models.autoencoders.autoencoder import Autoencoder
from genlab.models.autoencoders.vae import VAE

SHAPE = (1, 6, 5)
MLP = {"name": "mlp", "hidden": [16], "activation": "tanh"}


def vae(**changes: Any) -> VAE:
    torch.manual_seed(0)
    return VAE(SHAPE, MLP, latent_dim=3, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"likelihood": "bernoulli"},
        {"likelihood": "gaussian", "sigma": 0.3},
        {"likelihood": "gaussian", "sigma": "learned", "beta": 4.0},
        {"beta": 0.0},
    ],
    ids=str,
)
def test_terms_are_those_of_torch_distributions(changes: dict[str, Any]) -> None:
    model, image = vae(**changes), torch.rand(7, *SHAPE)
    rng.seed(5)
    values = model.loss(image)
    mean, log_variance = model.posterior(image)
    q = Normal(mean, (0.5 * log_variance).exp())
    rng.seed(5)
    logits = model.decoder(q.loc + q.scale * model.normal(7, 3))
    if changes.get("likelihood") == "gaussian":
        sigma = changes["sigma"] if changes["sigma"] != "learned" else 1.0  # where learning starts
        log_p = Normal(logits.sigmoid(), sigma).log_prob(image)
    else:
        log_p = Bernoulli(logits=logits, validate_args=False).log_prob(image)
    reconstruction = -log_p.sum((1, 2, 3)).mean()
    kl = kl_divergence(q, Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(values["reconstruction"], reconstruction)
    torch.testing.assert_close(values["kl"], kl)
    torch.testing.assert_close(values["loss"], reconstruction + changes.get("beta", 1.0) * kl)
    torch.testing.assert_close(values["elbo"], -(reconstruction + kl))


def test_the_bound_is_below_the_log_likelihood() -> None:
    """One latent, so that log p(x) can be had by summing over a fine grid of z."""
    torch.manual_seed(0)
    model = VAE(SHAPE, MLP, latent_dim=1)
    image = torch.rand(1, *SHAPE).round()
    z = torch.linspace(-8, 8, 4001)[:, None]
    with torch.no_grad():
        nll = model.output_distribution.nll(model.decoder(z), image.expand(4001, *SHAPE))
        log_joint = Normal(0.0, 1.0).log_prob(z[:, 0]) - nll
        log_p = torch.logsumexp(log_joint, 0) + torch.log(z[1, 0] - z[0, 0])
        rng.seed(0)
        elbo = model.loss(image.expand(20_000, *SHAPE))["elbo"]
        mean, log_variance = model.posterior(image)
        log_q = Normal(mean, (0.5 * log_variance).exp()).log_prob(z)[:, 0]
        gap = (log_q.exp() * (log_q - log_joint + log_p)).sum() * (z[1, 0] - z[0, 0])  # KL(q(z|x) ‖ p(z|x))
    assert elbo < log_p
    assert (log_p - elbo).item() == pytest.approx(gap.item(), abs=0.02)  # eq. 1


def test_the_gradient_goes_through_the_sample() -> None:
    """Eq. 10's reparameterisation: with β=0 the encoder learns from the reconstruction alone."""
    model = vae(beta=0.0)
    model.loss(torch.rand(4, *SHAPE))["loss"].backward()
    last = model.encoder[-1].weight.grad
    assert last is not None
    assert last[:3].abs().sum() > 0  # μ
    assert last[3:].abs().sum() > 0  # log σ²


def test_the_vae_of_the_papers_size_has_its_parameters() -> None:
    model = VAE((1, 28, 28), {"name": "mlp", "hidden": [400]}, latent_dim=20)
    assert sum(p.numel() for p in model.parameters()) == 652_824


def test_only_a_learned_sigma_is_a_parameter() -> None:
    learned, fixed = vae(likelihood="gaussian"), vae(likelihood="gaussian", sigma=0.5)
    assert "output_distribution.log_sigma" in dict(learned.named_parameters())
    assert "output_distribution.log_sigma" not in dict(fixed.named_parameters())
    assert fixed.state_dict()["output_distribution.log_sigma"].exp().item() == pytest.approx(0.5)
    assert vae(likelihood="gaussian", sigma=1).state_dict()["output_distribution.log_sigma"].item() == 0
    assert not any("sigma" in name for name in vae().state_dict())


def test_encode_is_the_mean_and_reconstruct_its_image() -> None:
    model, image = vae(), torch.rand(2, *SHAPE)
    torch.testing.assert_close(model.encode(image), model.posterior(image)[0])
    torch.testing.assert_close(model.reconstruct(image), model.decoder(model.encode(image)).sigmoid())


def test_the_decoder_may_be_another_network() -> None:
    model = vae(decoder={"name": "mlp", "hidden": [4, 3]})
    assert [layer.out_features for layer in model.decoder if hasattr(layer, "out_features")] == [3, 4, 30]
    with pytest.raises(ConfigError, match="dcgan_discriminator"):
        vae(decoder={"name": "dcgan_discriminator"})


@pytest.mark.parametrize("loss", ["mse", "bernoulli"])
@pytest.mark.parametrize("output", ["sigmoid", "identity"])
def test_autoencoder_losses_are_sums_over_pixels(loss: Any, output: Any) -> None:
    model, image = Autoencoder(SHAPE, MLP, latent_dim=3, loss=loss, output=output), torch.rand(7, *SHAPE)
    values = model.loss(image)
    logits = model.decoder(model.encoder(image))
    pixels = logits if (loss, output) == ("mse", "identity") else logits.sigmoid()
    squared_error = ((pixels - image) ** 2).sum() / 7
    torch.testing.assert_close(values["squared_error"], squared_error)
    expected = (
        squared_error if loss == "mse" else -Bernoulli(logits=logits, validate_args=False).log_prob(image).sum() / 7
    )
    torch.testing.assert_close(values["loss"], expected)


def test_the_deep_autoencoder_is_hinton_and_salakhutdinovs() -> None:
    spec = {"name": "mlp", "hidden": [1000, 500, 250]}
    model = Autoencoder((1, 28, 28), spec, latent_dim=30)
    widths = [
        layer.out_features for net in (model.encoder, model.decoder) for layer in net if hasattr(layer, "out_features")
    ]
    assert widths == [1000, 500, 250, 30, 250, 500, 1000, 784]


def test_points_have_any_range_and_a_density() -> None:
    """With a decoder of weights 0, p(x|z) is N(b, σ²I), whatever z: the reconstruction term in closed form."""
    torch.manual_seed(0)
    model = VAE((2, 1, 1), {"name": "mlp", "hidden": [4]}, latent_dim=2, likelihood="gaussian", sigma=0.5)
    last = model.decoder[-2]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, -3.0)
    x = torch.tensor([[-3.0, -3.0], [2.0, 7.0]])[:, :, None, None]
    expected = -Normal(-3.0, 0.5).log_prob(x).sum((1, 2, 3)).mean()
    torch.testing.assert_close(model.loss(x)["reconstruction"], expected)
    assert torch.equal(model.sample(3), torch.full((3, 2, 1, 1), -3.0))
