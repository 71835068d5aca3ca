"""EfficientNet-Lite0: the logits of the package's own network, the classes of photographs, sizes and gradients."""

from __future__ import annotations

import pytest
import torch

from genlab.nn.pretrained.efficientnet_lite0 import WEIGHTS, EfficientNetLite0
from tests.support.pretrained import needs_efficientnet, photographs

pytestmark = needs_efficientnet


@pytest.fixture(scope="module")
def network() -> EfficientNetLite0:
    return EfficientNetLite0(torch.load(WEIGHTS.path(), weights_only=True))


@torch.no_grad()
def test_the_logits_are_those_of_the_packages_own_network(network: EfficientNetLite0) -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="pip install efficientnet-lite-pytorch")
    own = package.EfficientNet.from_name("efficientnet-lite0").eval()
    own.load_state_dict(torch.load(WEIGHTS.path(), weights_only=True))
    images = torch.cat([photographs(224), torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))])
    expected = own((255 * images - 127) / 128)
    assert expected.abs().max() > 5
    assert (network(images) - expected).abs().max() < 5e-5


@torch.no_grad()
def test_a_palace_and_a_flower_are_recognized(network: EfficientNetLite0) -> None:
    from torchvision.models import EfficientNet_B0_Weights

    names = EfficientNet_B0_Weights.DEFAULT.meta["categories"]
    largest = network(photographs(224)).topk(3)
    likeliest = [[names[k] for k in row] for row in largest.indices.tolist()]
    assert likeliest == [["palace", "bell cote", "monastery"], ["daisy", "mushroom", "bee"]]
    # by the package's network in float64
    expected = torch.tensor([[8.1039, 7.8665, 6.8660], [7.1334, 6.4105, 5.5761]])
    assert torch.allclose(largest.values, expected, atol=1e-3)


@torch.no_grad()
def test_stages_halve_any_size_and_take_gray_images(network: EfficientNetLite0) -> None:
    found = network.outputs(torch.rand(2, 1, 28, 65), list(range(9)))
    rows, columns = [14, 14, 7, 4, 2, 2, 1, 1, 1], [33, 33, 17, 9, 5, 5, 3, 3, 3]
    channels = [32, 16, 24, 40, 80, 112, 192, 320, 1280]
    shapes = zip(channels, rows, columns, strict=True)
    assert [tuple(each.shape[1:]) for each in found] == list(shapes)
    one = torch.rand(1, 1, 32, 32)
    assert torch.equal(network.outputs(one, [4])[0], network.outputs(one.expand(-1, 3, -1, -1), [4])[0])
