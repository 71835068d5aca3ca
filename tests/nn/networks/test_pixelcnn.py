"""The PixelCNN: the order of positions, its probabilities, and sampling."""

from __future__ import annotations

import itertools

import pytest
import torch

from genlab.core import rng
from genlab.nn.networks.pixelcnn import PixelCNN, pixelcnn


@pytest.mark.parametrize(("first", "reach", "layers"), [(3, 1, 3), (1, 2, 2), (2, 3, 4)])
def test_a_place_depends_on_all_before_it_and_on_none_after(first: int, reach: int, layers: int) -> None:
    torch.manual_seed(1)
    net = pixelcnn((4, 5, 6), (4, 5, 6), channels=8, layers=layers, first=first, reach=reach)
    x = torch.randn(1, 8, 5, 6, requires_grad=True)
    logits = net._horizontal(x, net._vertical(x))
    for i, j in itertools.product(range(5), range(6)):
        (grad,) = torch.autograd.grad(logits[0, :, i, j].sum(), x, retain_graph=True)
        seen = (grad[0].abs().sum(0) > 0).flatten()
        place = 6 * i + j
        assert not seen[place:].any(), (i, j)
        if (first, reach, layers) == (2, 3, 4):  # far enough for the whole map: no blind spot
            assert seen[:place].all(), (i, j)


def test_probabilities_sum_to_one() -> None:
    """Over all 3⁴ maps of 2x2 places the probabilities sum to 1."""
    torch.manual_seed(0)
    net = pixelcnn((3, 2, 2), (3, 2, 2), channels=4, layers=3)
    maps = torch.tensor(list(itertools.product(range(3), repeat=4))).view(-1, 2, 2)
    with torch.no_grad():
        each = net(maps).log_softmax(1).gather(1, maps[:, None]).sum((1, 2, 3))
    assert float(each.exp().sum()) == pytest.approx(1, abs=1e-5)


def test_samples_follow_the_distribution() -> None:
    """4,000 drawn maps against the probabilities of all 16, by χ² (15 degrees of freedom: 38 is one in 1,000)."""
    torch.manual_seed(3)
    net = PixelCNN(2, (2, 2), channels=4, layers=2, first=1, reach=1)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, 0, 0.7)
    maps = torch.tensor(list(itertools.product(range(2), repeat=4))).view(-1, 2, 2)
    rng.seed(0)
    with torch.no_grad():
        p = net(maps).log_softmax(1).gather(1, maps[:, None]).sum((1, 2, 3)).exp()
        drawn = net.sample(4000).flatten(1) @ torch.tensor([8, 4, 2, 1])
    assert p.max() < 0.9
    expected = 4000 * p
    assert float(((drawn.bincount(minlength=16) - expected) ** 2 / expected).sum()) < 38


def test_drawing_looks_no_further_than_it_can_see() -> None:
    """A network that may look at everything draws the same map."""
    torch.manual_seed(0)
    net = PixelCNN(5, (7, 9), channels=4, layers=3, first=1, reach=1)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    assert net.past == 3
    drawn = []
    for past in (3, 99, 1):
        net.past = past
        rng.seed(0)
        with torch.no_grad():
            drawn.append(net.sample(20))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
