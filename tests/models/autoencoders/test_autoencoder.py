"""The autoencoder with tied weights, and the loss of its denoising variant."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from genlab.errors import ConfigError
from genlab.evaluation.evaluators.image_grids import Filters
from genlab.models.autoencoders.autoencoder import Autoencoder
from genlab.models.classical.pca import PCA
from genlab.registry import MODELS
from tests.support.models import AUTOENCODER_SHAPE, autoencoder, linears, shrunk, spec_of


def test_tied_weights_are_the_encoders_transposed() -> None:
    model, image = autoencoder(tied=True, output="identity"), torch.rand(4, *AUTOENCODER_SHAPE)
    biases = [parameter for name, parameter in model.decoder.named_parameters()]
    assert [tuple(bias.shape) for bias in biases] == [(5,), (7,), (36,)]  # no weights of its own
    x = model.encoder(image)
    first, second, third = linears(model.encoder)
    x = torch.sigmoid(x @ third.weight + biases[0])
    x = torch.sigmoid(x @ second.weight + biases[1])
    x = x @ first.weight + biases[2]
    torch.testing.assert_close(model.decoder(model.encoder(image)), x.unflatten(1, AUTOENCODER_SHAPE))


def test_points_outside_the_unit_square_are_reconstructed() -> None:
    points = torch.tensor([[3.0, -2.0], [-1.0, 4.0], [2.0, 2.0], [-2.0, -1.0]])[:, :, None, None]
    linear = Autoencoder((2, 1, 1), {"name": "mlp", "hidden": []}, latent_dim=2, output="identity")
    with torch.no_grad():
        for layer in linears(linear):
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
    pca = PCA((2, 1, 1), latent_dim=2)
    pca.update(points)
    for model in (linear, pca):
        torch.testing.assert_close(model.reconstruct(points), points)


def test_a_copy_of_a_tied_model_is_tied_to_itself() -> None:
    model, image = autoencoder(tied=True), torch.rand(4, *AUTOENCODER_SHAPE)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        linears(twin.encoder)[0].weight.zero_()
    assert not torch.equal(twin.reconstruct(image), model.reconstruct(image))
    assert twin.decoder(torch.rand(2, 3)).flatten(1).std(0).max() == 0  # its last weights are those zeros


def test_the_reconstruction_of_a_corrupted_image_is_compared_with_the_clean_one() -> None:
    model = autoencoder("denoising_ae", corruption={"name": "masking", "amount": 1.0})
    image = torch.rand(4, *AUTOENCODER_SHAPE)
    expected = (model.reconstruct(torch.zeros_like(image)) - image).square().flatten(1).sum(1).mean()
    torch.testing.assert_close(model.loss(image)["squared_error"], expected)


@pytest.mark.parametrize(
    ("name", "changes", "remedy"),
    [
        ("autoencoder", {"tied": True, "network": {"name": "conv", "channels": [4]}}, "model.tied=false"),
        ("denoising_ae", {"corruption": {"name": "masking", "amont": 1}}, "amount"),
        ("autoencoder", {"corruption": {"name": "masking", "amount": 1}}, "unknown key 'model.corruption'"),
    ],
)
def test_a_bad_key_is_refused_in_one_line(name: str, changes: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy) as error:
        autoencoder(name, **changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["linear_ae", "sparse_ae", "contractive_ae", "overcomplete_ae", "k_sparse_ae"])
def test_the_filters_of_one_layer_are_its_weights(name: str) -> None:
    model = MODELS.build(shrunk(spec_of(name)), "model", image_shape=(3, 6, 5))
    filters = model.filters()
    assert filters.shape[1:] == (3, 6, 5)
    image = torch.rand(2, 3, 6, 5)
    [layer] = linears(model.encoder)
    torch.testing.assert_close((image.flatten(1) @ filters.flatten(1).T) + layer.bias, layer(image.flatten(1)))
    [(shown, _)] = Filters().run(model, None)
    assert shown == "filters"


def test_an_encoder_that_does_not_see_whole_images_first_has_no_filters() -> None:
    model = MODELS.build(shrunk(spec_of("conv_ae")), "model", image_shape=(1, 8, 8))
    assert model.filters().shape == (0, 1, 8, 8)
    assert not list(Filters().run(model, None))
