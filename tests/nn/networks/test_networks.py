"""Networks: sizes, parameter counts and layers, against the papers and hand counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from genlab.errors import ConfigError
from genlab.nn.layers.activations import ACTIVATIONS
from genlab.nn.networks.conv import conv
from genlab.nn.networks.gans.dcgan import dcgan_discriminator, dcgan_generator
from genlab.nn.networks.mlp import mlp
from genlab.nn.networks.resnet import Residual
from genlab.registry import NETWORKS
from tests.support.models import LARGE_SHAPES, SHAPES

CONV_VAE = [32, 64, 128, 256, 512]


def count(*networks: nn.Module) -> int:
    return sum(p.numel() for network in networks for p in network.parameters())


def kinds(network: nn.Sequential) -> list[str]:
    return [type(layer).__name__ for layer in network]


def test_mlp_reads_hidden_from_the_images_side() -> None:
    encoder, decoder = mlp((1, 28, 28), 2, [400, 50]), mlp(2, (1, 28, 28), [400, 50])
    linear = [[layer.out_features for layer in net if isinstance(layer, nn.Linear)] for net in (encoder, decoder)]
    assert linear == [[400, 50, 2], [50, 400, 784]]
    assert kinds(encoder) == ["Flatten", "Linear", "ReLU", "Linear", "ReLU", "Linear"]
    assert kinds(mlp(3, 4, [])) == ["Linear"]
    assert [layer.out_features for layer in mlp(3, 4, [7, 8]) if isinstance(layer, nn.Linear)] == [7, 8, 4]


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_every_activation_name_is_accepted_and_is_that_function(activation: str) -> None:
    spec = {"name": "mlp", "hidden": [3], "activation": activation}
    network = NETWORKS.build(spec, inp=2, out=4)
    x, oracle = torch.randn(5, 2), getattr(torch.nn.functional, activation, getattr(torch, activation, None))
    assert oracle is not None
    torch.testing.assert_close(network(x), network[2](oracle(network[0](x))))


def test_an_unknown_activation_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"activation.*\n?") as error:
        NETWORKS.build({"name": "mlp", "hidden": [3], "activation": "swish"}, inp=2, out=4)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("hidden", [[0], [3.5], ["a"], "3"])
def test_bad_widths_are_refused(hidden: object) -> None:
    with pytest.raises(ConfigError, match="hidden"):
        NETWORKS.check({"name": "mlp", "hidden": hidden}, "network")


@pytest.mark.parametrize("shape", [*SHAPES, *LARGE_SHAPES, (3, 17, 100), (1, 9, 8)])
@pytest.mark.parametrize("layers", [1, 3, 6])
def test_conv_fits_every_image(shape: tuple[int, int, int], layers: int) -> None:
    channels = [3] * layers
    image = torch.rand(1, *shape)
    encoder, decoder = conv(shape, 7, channels), conv(7, shape, channels)
    code = encoder(image)  # training mode: batch norm would refuse a single image on a 1x1 map
    assert code.shape == (1, 7)
    assert decoder(code).shape == image.shape
    if shape[1] == shape[2]:
        smallest = shape[1]
        for _ in range(layers):
            smallest = max(2, (smallest + 1) // 2)
        assert encoder[-1].in_features == 3 * smallest**2


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 20), (3, 17, 100), (1, 9, 8), (3, 64, 64)])
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("network", [{"name": "conv", "resample": "pool"}, {"name": "resnet", "blocks": 1}])
def test_pooling_and_residual_networks_fit_every_image(
    network: dict[str, object], norm: str, shape: tuple[int, int, int]
) -> None:
    image, spec = torch.rand(2, *shape), {**network, "norm": norm, "channels": [3, 4, 5, 6]}
    encoder, decoder = NETWORKS.build(spec, inp=shape, out=7), NETWORKS.build(spec, inp=7, out=shape)
    code = encoder(image)
    assert code.shape == (2, 7)
    assert decoder(code).shape == image.shape
    assert any(isinstance(m, nn.BatchNorm2d) for m in encoder.modules()) == (norm == "batch")
    decoder(code).square().sum().backward()
    assert all(p.grad is not None for p in [*encoder.parameters(), *decoder.parameters()])


def test_pooling_keeps_the_convolutions_at_full_size() -> None:
    encoder, decoder = conv((1, 8, 8), 7, [3, 4], resample="pool"), conv(7, (1, 8, 8), [3, 4], resample="pool")
    assert [layer.stride for layer in encoder if isinstance(layer, nn.Conv2d)] == [(1, 1), (1, 1)]
    assert kinds(encoder).count("MaxPool2d") == kinds(decoder).count("Upsample") == 2
    assert "ConvTranspose2d" not in kinds(decoder)


def test_a_residual_block_adds_to_what_it_is_given() -> None:
    block, x = Residual(4, 4, "none", "relu"), torch.randn(2, 4, 5, 5)
    last = block.change[-1]
    assert isinstance(last, nn.Conv2d)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    before = x.clone()
    assert torch.equal(block(x), before)  # F(x) = 0, and no activation has changed x in place
    assert Residual(4, 6, "none", "relu")(x).shape == (2, 6, 5, 5)


def test_conv_at_64_pixels_has_the_usual_vaes_layers() -> None:
    """Five stride-2 blocks 32..512 to 2x2 and their mirror, latent 128: counted by hand, layer by layer."""
    encoder, decoder = conv((3, 64, 64), 256, CONV_VAE), conv(128, (3, 64, 64), CONV_VAE)
    block = ["Conv2d", "BatchNorm2d", "LeakyReLU"]
    assert kinds(encoder) == block * 5 + ["Flatten", "Linear"]
    back = ["ConvTranspose2d", "BatchNorm2d", "LeakyReLU"]
    assert kinds(decoder) == ["Linear", "Unflatten", *back * 5, "Conv2d"]
    assert count(encoder, decoder) == 3_937_635
    assert all(layer.stride == (2, 2) for layer in encoder if isinstance(layer, nn.Conv2d))


def test_conv_without_norm_has_none() -> None:
    assert "BatchNorm2d" not in kinds(conv((1, 8, 8), 2, [3], norm="none")) + kinds(
        conv(2, (1, 8, 8), [3], norm="none")
    )


@pytest.mark.parametrize("network", [conv, dcgan_generator, dcgan_discriminator])
def test_a_network_in_the_wrong_place_says_so(network: object) -> None:
    keywords = {"channels": [3]} if network is conv else {}
    with pytest.raises(ConfigError, match=r"maps .*, not 3 to 4"):
        network(3, 4, **keywords)  # type: ignore[operator]


def test_dcgan_at_64_pixels_counts_what_the_authors_code_has() -> None:
    generator, discriminator = dcgan_generator(100, (3, 64, 64)), dcgan_discriminator((3, 64, 64), 1)
    assert count(generator) == 3_576_704
    assert count(discriminator) == 2_765_568


def test_dcgan_of_width_128_is_the_papers_figure_1() -> None:
    convolutions = [m for m in dcgan_generator(100, (3, 64, 64), 128) if isinstance(m, nn.ConvTranspose2d)]
    assert [m.in_channels for m in convolutions] == [100, 1024, 512, 256, 128]
    assert [m.out_channels for m in convolutions] == [1024, 512, 256, 128, 3]


@pytest.mark.parametrize(
    ("sides", "base", "doublings"),
    [
        ((8, 8), (4, 4), 1),
        ((28, 28), (7, 7), 2),
        ((28, 20), (7, 5), 2),
        ((32, 32), (4, 4), 3),
        ((48, 48), (3, 3), 4),
        ((64, 64), (4, 4), 4),
        ((128, 128), (4, 4), 5),
        ((256, 256), (4, 4), 6),
    ],
)
def test_dcgan_base_and_shapes(sides: tuple[int, int], base: tuple[int, int], doublings: int) -> None:
    generator, discriminator = dcgan_generator(5, (3, *sides), 1), dcgan_discriminator((3, *sides), 1, 1)
    convolutions = [m for m in generator if isinstance(m, nn.ConvTranspose2d)]
    assert convolutions[0].kernel_size == base
    assert len(convolutions) == doublings + 1
    assert [(m.kernel_size, m.stride) for m in convolutions[1:]] == [((4, 4), (2, 2))] * doublings
    image = generator(torch.randn(2, 5))
    assert image.shape == (2, 3, *sides)
    assert discriminator(image).shape == (2, 1)
    assert next(reversed([m for m in discriminator if isinstance(m, nn.Conv2d)])).kernel_size == base


@pytest.mark.parametrize(("side", "works"), [(100, 96), (30, 28), (9, 8), (250, 256), (18, 16)])
def test_dcgan_names_a_size_that_works(side: int, works: int) -> None:
    with pytest.raises(ConfigError, match=rf"{side}x{side}.*use dataset\.size={works}$") as error:
        dcgan_generator(100, (3, side, side))
    assert "\n" not in str(error.value)
    dcgan_generator(100, (3, works, works), 1)


def test_dcgan_with_a_hidden_layer_is_infogans_for_mnist() -> None:
    """Appendix C.1 of the paper: FC 1024, FC 7x7x128, 64, 1 maps, and its mirror; batch norm on all but the ends."""
    generator = dcgan_generator(74, (1, 28, 28), 64, [1024])
    discriminator = dcgan_discriminator((1, 28, 28), 1, 64, hidden=[1024])
    maps = [tuple(m.weight.shape) for m in generator if isinstance(m, nn.Linear | nn.ConvTranspose2d)]
    assert maps == [(1024, 74), (1024, 128, 7, 7), (128, 64, 4, 4), (64, 1, 4, 4)]
    maps = [tuple(m.weight.shape) for m in discriminator if isinstance(m, nn.Linear | nn.Conv2d)]
    assert maps == [(64, 1, 4, 4), (128, 64, 4, 4), (1024, 128 * 7 * 7), (1, 1024)]
    assert [k for k in kinds(generator) if "BatchNorm" in k] == ["BatchNorm1d", "BatchNorm2d", "BatchNorm2d"]
    assert [k for k in kinds(discriminator) if "BatchNorm" in k] == ["BatchNorm2d", "BatchNorm1d"]
    assert discriminator(generator(torch.randn(3, 74))).shape == (3, 1)
    assert generator[0].weight.std().item() == pytest.approx(0.02, rel=0.02)


@pytest.mark.parametrize("norm", ["batch", "layer", "spectral", "none"])
@pytest.mark.parametrize("minibatch", ["none", "deviation", "discrimination"])
def test_dcgan_hidden_layers_go_with_every_norm_and_minibatch(norm: Any, minibatch: Any) -> None:
    network = dcgan_discriminator((1, 8, 8), 1, 2, norm, minibatch, [5, 4])
    assert network(torch.randn(4, 1, 8, 8)).shape == (4, 1)
    assert any("BatchNorm" in kind for kind in kinds(network)) == (norm == "batch")


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 64, 64)])
def test_dcgan_follows_the_papers_guidelines(shape: tuple[int, int, int]) -> None:
    generator, discriminator = dcgan_generator(9, shape, 4), dcgan_discriminator(shape, 1, 4)
    for network in (generator, discriminator):
        assert not {"Linear", "MaxPool2d", "AvgPool2d", "Upsample"} & set(kinds(network))
        assert all(m.bias is None for m in network if isinstance(m, nn.Conv2d | nn.ConvTranspose2d))
    g, d = kinds(generator), kinds(discriminator)
    assert g[-1] == "ConvTranspose2d"  # no batch norm at the generator's output
    assert d[:2] == ["Conv2d", "LeakyReLU"]  # nor at the discriminator's input
    assert g.count("BatchNorm2d") == g.count("ReLU") == g.count("ConvTranspose2d") - 1
    assert d.count("BatchNorm2d") == d.count("Conv2d") - 2
    assert "ReLU" not in d
    assert all(m.negative_slope == 0.2 for m in discriminator if isinstance(m, nn.LeakyReLU))


def test_dcgan_starts_from_the_papers_weights() -> None:
    torch.manual_seed(0)
    for network in (dcgan_generator(100, (3, 64, 64)), dcgan_discriminator((3, 64, 64), 1)):
        weights = torch.cat([m.weight.flatten() for m in network if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)])
        norms = [m for m in network if isinstance(m, nn.BatchNorm2d)]
        gammas = torch.cat([m.weight for m in norms])
        assert weights.mean().abs() < 1e-4
        assert weights.std().item() == pytest.approx(0.02, rel=0.01)
        assert gammas.mean().item() == pytest.approx(1, abs=0.005)
        assert gammas.std().item() == pytest.approx(0.02, rel=0.15)
        assert all(m.bias.count_nonzero() == 0 for m in norms)
