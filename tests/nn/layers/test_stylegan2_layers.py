"""StyleGAN2's layers against direct transcriptions of their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import signal
from torch import Tensor
from torch.nn import functional as F

from genlab.errors import ConfigError
from genlab.nn.layers.stylegan2_layers import Blur, Double, EqualConv2d, EqualLinear, ModulatedConv, leaky
from genlab.nn.networks.gans.stylegan2 import Discriminator, Mapping, Synthesis, levels

TAPS = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def by_sample(conv: ModulatedConv, x: Tensor, w: Tensor) -> Tensor:
    """Equations 1 and 3, a weight of its own for each image."""
    found = []
    for image, style in zip(x, conv.style(w), strict=True):
        weight = conv.weight * conv.gain * style[None, :, None, None]
        if conv.demodulate:
            weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        found.append(F.conv2d(image[None], weight, padding=conv.padding))
    return torch.cat(found)


@pytest.mark.parametrize(("kernel", "demodulate"), [(3, True), (1, False)])
def test_modulation_is_a_convolution_with_weights_of_each_images_own(kernel: int, demodulate: bool) -> None:
    conv = ModulatedConv(5, 4, kernel, style=6, demodulate=demodulate)
    x, w = torch.randn(3, 5, 8, 7), 3 * torch.randn(3, 6)
    torch.testing.assert_close(conv(x, w), by_sample(conv, x, w), rtol=1e-4, atol=1e-5)
    way = torch.randn(3, 4, 8, 7)
    for a, b in zip(
        torch.autograd.grad((conv(x, w) * way).sum(), list(conv.parameters())),
        torch.autograd.grad((by_sample(conv, x, w) * way).sum(), list(conv.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_demodulated_maps_have_unit_variance_whatever_the_style() -> None:
    conv = ModulatedConv(64, 32, 3, style=8)
    for scale in (1e-3, 1.0, 1e3):
        made = conv(torch.randn(4, 64, 16, 16), scale * torch.randn(4, 8))[:, :, 1:-1, 1:-1]
        assert made.var().item() == pytest.approx(1, rel=0.15)


def test_a_large_style_does_not_overflow_in_float16() -> None:
    conv = ModulatedConv(64, 8, 3, style=8)
    x, w = 200 * torch.randn(2, 64, 8, 8), 3e3 * torch.randn(2, 8)  # 200 · 3,000 is beyond its largest number
    with torch.autocast("cpu", torch.float16):
        half = conv(x.half(), w)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), conv(x, w), rtol=0.02, atol=2)


def test_a_doubling_convolution_is_zeros_between_pixels_a_convolution_and_the_filter() -> None:
    conv = ModulatedConv(3, 2, 3, style=4, double=True)
    x, w = torch.randn(1, 3, 5, 6), torch.randn(1, 4)
    wide = torch.zeros(1, 3, 9, 11)
    wide[:, :, ::2, ::2] = x
    plain = ModulatedConv(3, 2, 3, style=4)
    plain.load_state_dict(conv.state_dict(), strict=False)
    plain.weight.data = conv.weight.data.flip(2, 3)  # a transposed convolution turns the kernel
    convolved = by_sample(plain, F.pad(wide, (1, 1, 1, 1)), w)
    expected = np.stack([signal.convolve2d(m, 4 * TAPS, "full")[2:-2, 2:-2] for m in convolved[0].detach().numpy()])
    np.testing.assert_allclose(conv(x, w)[0].detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_filter_is_scipys() -> None:
    x = torch.randn(2, 3, 9, 7)
    expected = np.stack([[signal.convolve2d(m, TAPS, "full")[1:-1, 1:-1] for m in image] for image in x.numpy()])
    np.testing.assert_allclose(Blur(pad=2)(x).numpy(), expected, atol=1e-6)


def test_doubling_keeps_a_constant_and_its_mean() -> None:
    made = Double()(torch.ones(1, 2, 6, 6))
    assert made.shape == (1, 2, 12, 12)
    torch.testing.assert_close(made[..., 1:-1, 1:-1], torch.ones(1, 2, 10, 10))
    x = torch.randn(1, 1, 5, 5)
    wide = np.zeros((10, 10))
    wide[::2, ::2] = x[0, 0]
    expected = signal.convolve2d(wide, 4 * TAPS, "full")[1:11, 1:11]
    np.testing.assert_allclose(Double()(x)[0, 0].numpy(), expected, atol=1e-6)


def test_halving_is_the_filter_then_every_other_pixel() -> None:
    x = torch.randn(1, 3, 8, 6)
    for kernel in (1, 3):
        conv = EqualConv2d(3, 2, kernel, bias=False, halve=True)
        blurred = F.conv2d(F.pad(x, (2, 2, 2, 2)), torch.tensor(TAPS).float().expand(3, 1, 4, 4), groups=3)
        whole = F.conv2d(blurred, conv.weight / math.sqrt(3 * kernel**2))
        first = 0 if kernel == 3 else 1
        torch.testing.assert_close(conv(x), whole[:, :, first::2, first::2][:, :, :4, :3], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rate", [1.0, 0.01])
def test_equalized_layers_keep_the_variance_and_learn_at_their_rate(rate: float) -> None:
    layer = EqualLinear(400, 300, rate=rate)
    assert layer(torch.randn(200, 400)).var().item() == pytest.approx(1, rel=0.1)
    assert layer.weight.std().item() == pytest.approx(1 / rate, rel=0.05)
    x, step = torch.randn(1, 400), torch.randn(300, 400)
    before = layer(x)
    layer.weight.data += step  # what Adam does to every weight, whatever its scale
    assert (layer(x) - before).std().item() == pytest.approx(rate, rel=0.15)
    conv = EqualConv2d(100, 80, 3)
    assert conv(torch.randn(2, 100, 12, 12))[..., 1:-1, 1:-1].var().item() == pytest.approx(1, rel=0.15)


def test_the_activation_keeps_the_mean_square() -> None:
    x = torch.randn(100_000)
    assert float(leaky(x).square().mean()) == pytest.approx(1, rel=0.05)
    assert float(leaky(torch.tensor(6e4).half())) == 256


def test_z_is_normalized_and_each_layer_has_its_style() -> None:
    mapping, z = Mapping(16, 2), torch.randn(3, 16)
    torch.testing.assert_close(mapping(z), mapping(5 * z), rtol=1e-4, atol=1e-5)
    synthesis = Synthesis((3, 32, 32), 16, base=256, largest=16)
    assert synthesis.styles == 8  # 2 log2(32) − 2, as the authors count them
    styles = torch.randn(2, 8, 16)
    image = synthesis(styles, fixed=True)
    assert image.shape == (2, 3, 32, 32)
    for layer in range(8):
        other = styles.clone()
        other[:, layer] += 1
        assert not torch.allclose(synthesis(other, fixed=True), image), layer


def test_maps_are_halved_with_the_side() -> None:
    assert [count for count, _ in levels((3, 64, 64), base=1024, largest=100)] == [100, 100, 64, 32, 16]
    assert [side for _, side in levels((1, 28, 20), base=64, largest=8)] == [(7, 5), (14, 10), (28, 20)]
    with pytest.raises(ConfigError, match=r"dataset\.size=32"):
        levels((3, 33, 33), base=64, largest=8)
    assert Discriminator((3, 32, 32), 128, 8)(torch.randn(4, 3, 32, 32)).shape == (4, 1)
