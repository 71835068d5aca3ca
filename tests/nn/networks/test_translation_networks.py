"""Image-to-image networks and PatchGAN against the figures of their papers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.nn.layers.norms import normalize
from genlab.nn.networks.unet import Noise
from genlab.registry import NETWORKS

RGB = (3, 256, 256)


def network(name: str, inp: Any, out: Any, **keys: Any) -> nn.Module:
    module: nn.Module = NETWORKS.build({"name": name, **keys}, "model.network", inp=inp, out=out)
    return module


def reach(module: nn.Module, image: Tensor, place: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of the region of pixels that the output at `place` (channel, row, column) depends on."""
    image = image.requires_grad_()
    [gradient] = torch.autograd.grad(module(image)[0][place], image)
    rows, columns = (gradient[0].abs().sum((0, k)).nonzero().flatten() for k in (2, 1))
    return int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1


def test_the_unet_at_256_pixels_is_the_papers() -> None:
    with torch.device("meta"):
        unet = network("unet", RGB, RGB)
        deepest = unet(torch.empty(1, *RGB)).shape
    assert deepest == (1, *RGB)
    convolutions = [m for m in unet.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [64, 128, 256, 512, 512, 512, 512, 512]
    back = [m for m in unet.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [m.in_channels for m in back] == [512, 1024, 1024, 1024, 1024, 512, 256, 128]  # with what is passed across
    assert [m.out_channels for m in back] == [512, 512, 512, 512, 256, 128, 64, 3]
    layers: Any = unet.up
    assert [any(isinstance(m, Noise) for m in layer) for layer in layers] == [True] * 3 + [False] * 5
    assert sum(p.numel() for p in unet.parameters()) == pytest.approx(54.4e6, rel=0.001)


def test_each_layer_of_the_unet_sees_its_mirror_image() -> None:
    """What the innermost map does not carry reaches the output too: with the way back cut, one pixel stays local."""
    torch.manual_seed(0)
    unet = network("unet", (1, 16, 16), (1, 16, 16), base_channels=4, norm="none", dropout=0.0)
    assert reach(unet, torch.rand(1, 1, 16, 16), (0, 8, 8)) == (16, 16)
    nn.init.zeros_(unet.up[0][1].weight)  # type: ignore[index]
    assert reach(unet, torch.rand(1, 1, 16, 16), (0, 8, 8)) == (16, 16)  # 2x2 maps still see everything
    for layer in unet.up[:-1]:  # type: ignore[index]
        nn.init.zeros_(layer[1].weight)
        nn.init.zeros_(layer[1].bias)
    rows, columns = reach(unet, torch.rand(1, 1, 16, 16), (0, 8, 8))
    assert max(rows, columns) <= 6  # by the outermost pair of layers alone


@pytest.mark.parametrize(("layers", "wanted"), [(1, 16), (2, 34), (3, 70)])
def test_patches_are_as_large_as_the_paper_says(layers: int, wanted: int) -> None:
    """Appendix 6.1.2's receptive fields, measured by which pixels a logit has a gradient for."""
    torch.manual_seed(0)
    side = 2 * wanted + 4
    patchgan = network("patchgan", (1, side, side), 1, base_channels=2, layers=layers, norm="none")
    height, width = patchgan(torch.rand(1, 1, side, side)).shape[2:]
    assert reach(patchgan, torch.rand(1, 1, side, side), (0, height // 2, width // 2)) == (wanted, wanted)


def test_the_70_pixel_patchgan_is_the_papers() -> None:
    with torch.device("meta"):
        patchgan = network("patchgan", (6, 256, 256), 1)
        assert patchgan(torch.empty(1, 6, 256, 256)).shape == (1, 1, 30, 30)
    assert [m.out_channels for m in patchgan.modules() if isinstance(m, nn.Conv2d)] == [64, 128, 256, 512, 1]


def test_the_resnet_translator_is_the_papers() -> None:
    with torch.device("meta"):
        translator = network("resnet_translator", (3, 128, 128), (3, 128, 128))
        assert translator(torch.empty(1, 3, 128, 128)).shape == (1, 3, 128, 128)
    widths = [m.out_channels for m in translator.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert widths == [64, 128, 256, *[256] * 12, 128, 64, 3]
    assert sum(p.numel() for p in translator.parameters()) == pytest.approx(7.84e6, rel=0.003)


@pytest.mark.parametrize("name", ["unet", "resnet_translator"])
def test_sizes_that_do_not_halve_are_refused_with_one_that_does(name: str) -> None:
    with pytest.raises(ConfigError, match=r"use dataset\.size=\d+") as caught:
        network(name, (3, 101, 101), (3, 101, 101))
    size = int(str(caught.value).rpartition("=")[2])
    assert "\n" not in str(caught.value)
    network(name, (3, size, size), (3, size, size), base_channels=2)
    with pytest.raises(ConfigError, match="an image to one of the same size"):
        network(name, 5, (3, 8, 8))


def test_dropout_is_never_off_and_alike_however_many_share_the_batch() -> None:
    drop, x = Noise(0.5).eval(), torch.ones(4, 3, 50, 50)
    rng.seed(0)
    whole = drop(x)
    assert whole.mean().item() == pytest.approx(1, abs=0.05)
    assert set(whole.unique().tolist()) == {0.0, 2.0}
    halves = []
    try:
        for rank in (0, 1):
            rng.set_rank(rank, 2)
            rng.seed(0)
            halves.append(drop(x[:2]))
    finally:
        rng.set_rank(0, 1)
    assert torch.equal(torch.cat(halves), whole)


@pytest.mark.parametrize("n", [1, 3])
def test_instance_norm_is_torchs(n: int) -> None:
    """Values and gradients of nn.InstanceNorm2d, for one image and for several."""
    [ours] = normalize("instance", 5)
    theirs = nn.InstanceNorm2d(5, affine=True)
    ours.load_state_dict({"weight": torch.rand(5), "bias": torch.rand(5)})
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(n, 5, 6, 7)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    weights = torch.randn_like(x)
    for layer, image in ((ours, a), (theirs, b)):
        (layer(image) * weights).sum().backward()
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(a.grad, b.grad)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
