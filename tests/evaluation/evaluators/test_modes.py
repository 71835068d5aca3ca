"""Modes and points: counts that are known beforehand, and pictures whose colors say what they should."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.model import Model
from genlab.core.values import Diagnosis, Image
from genlab.data.datasets.digits import Digits
from genlab.data.datasets.synthetic.toy import Dirac, Grid, Ring
from genlab.engine.evaluate import evaluate, numbers
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.distribution import modes, points
from genlab.evaluation.evaluators.distribution.modes import Modes, kl_to_even, nearest, spelled
from genlab.evaluation.evaluators.distribution.points import PointsPlot, alone, drive
from genlab.evaluation.evaluators.image_grids import SamplesGrid
from genlab.models.flows.flow_matching import FlowMatching
from genlab.nn.losses.regularizers import Regularizers
from genlab.registry import MODELS, discover
from genlab.reports.vector_field import Window, plot
from tests.support.fields import known
from tests.support.models import spec_of

discover()
CPU = torch.device("cpu")


class Draws(Model):
    """A model whose samples are given."""

    def __init__(self, samples: Tensor) -> None:
        super().__init__()
        self.samples, self.at = samples, 0

    def sample(self, n: int) -> Tensor:
        self.at += n
        return self.samples[self.at - n : self.at]


def of_ring(*modes: int, deviation: float = 0.01, n: int = 800) -> Tensor:
    """n points spread evenly over some modes of the ring."""
    angle = torch.tensor(modes)[torch.arange(n) % len(modes)] * (math.pi / 4)
    centers = torch.stack([angle.cos(), angle.sin()], 1)
    return (centers + deviation * torch.randn(n, 2, generator=torch.Generator().manual_seed(0)))[:, :, None, None]


def test_modes_and_quality_are_what_was_drawn() -> None:
    data = Ring(n=20_000).open(CPU)
    all_eight = numbers(evaluate(Modes(n=800), Draws(of_ring(*range(8))), data, 0))
    assert (all_eight["modes"], all_eight["mode_kl"]) == (8, pytest.approx(0, abs=1e-3))
    # within three deviations in the plane: 1 - exp(-9/2)
    assert all_eight["high_quality"] == pytest.approx(1 - math.exp(-4.5), abs=0.01)
    found = evaluate(Modes(n=800), Draws(of_ring(1, 5)), data, 0)
    two = numbers(found)
    assert (two["modes"], two["mode_kl"]) == (2, pytest.approx(math.log(4), abs=1e-3))
    [said] = [value.sentence for _, value in found if isinstance(value, Diagnosis)]
    assert said.startswith("mode collapse, samples cover 2 of 8 modes")
    assert said.endswith("train for longer: trainer.steps")  # a model without regularizers
    for spec, size in (({}, 2), ({"pack": {"size": 2}}, 4)):  # which divides a batch that 2 divides, as a rule
        gan = Draws(of_ring(1, 5))
        gan.regularizers = Regularizers(spec)  # type: ignore[assignment]
        [said] = [value.sentence for _, value in evaluate(Modes(n=800), gan, data, 0) if isinstance(value, Diagnosis)]
        assert said.endswith(f"model.regularizers.pack.size={size}")
    assert next(iter(two)) == "modes"  # what a table of runs shows comes first
    middle = evaluate(Modes(n=800), Draws(torch.zeros(800, 2, 1, 1)), data, 0)
    [said] = [value for _, value in middle if isinstance(value, Diagnosis)]
    assert not said.due(600, 2000)  # it may be a beginning
    assert said.due(2000, 2000)
    assert numbers(middle) == {"high_quality": 0, "modes": 0, "mode_kl": math.log(8)}


def test_a_collapse_onto_few_modes_that_most_samples_miss_is_named() -> None:
    """As a GAN of small networks ends on the ring: 3 of 8 modes, and 0.057 of the samples near one."""
    data = Ring(n=20_000).open(CPU)
    near, far = of_ring(0, 3, 5, n=48), of_ring(0, 3, 5, n=752) * 1.3
    collapsed = Draws(torch.cat([near, far]))
    collapsed.regularizers = Regularizers({})  # type: ignore[assignment]
    found = evaluate(Modes(n=800), collapsed, data, 0)
    assert (numbers(found)["modes"], round(numbers(found)["high_quality"], 2)) == (3, 0.06)
    [said] = [value.sentence for _, value in found if isinstance(value, Diagnosis)]
    assert said.startswith("mode collapse, samples cover 3 of 8 modes, and 5.")
    assert said.endswith("model.regularizers.r1.weight=0.01")


def test_the_grid_has_twenty_five_modes_and_real_points_find_them() -> None:
    data = Grid().open(CPU)
    [real] = next(data.split("test").batches(("image",), 2500))
    said = numbers(evaluate(Modes(), Draws(real), data, 0))
    assert said["modes"] == 25
    assert said["mode_kl"] == pytest.approx(24 / 5000, rel=0.6)  # the bias of a count
    assert said["high_quality"] == pytest.approx(1 - math.exp(-4.5), abs=0.01)


def test_a_few_modes_that_are_missed_are_no_collapse() -> None:
    data = Grid().open(CPU)
    image, label = data.split("test").take(1000, ("image", "label"))
    for missed, collapsed in ((2, False), (3, True)):
        real = image[label >= missed]
        found = evaluate(Modes(n=len(real)), Draws(real), data, 0)
        assert numbers(found)["modes"] == 25 - missed
        assert any(isinstance(value, Diagnosis) for _, value in found) == collapsed


def test_near_and_nearest_by_brute_force() -> None:
    source = torch.Generator().manual_seed(1)
    samples, centers = torch.randn(50, 2, generator=source), torch.randn(4, 2, generator=source).double()
    near, tally = nearest(samples, centers, 0.7)
    counts = [0] * 4
    for sample, is_near in zip(samples.tolist(), near.tolist(), strict=True):
        distances = [math.dist(sample, center) for center in centers.tolist()]
        assert is_near == (min(distances) < 0.7)
        counts[distances.index(min(distances))] += is_near
    assert tally.tolist() == counts


def test_divergence_from_an_even_use() -> None:
    assert kl_to_even(torch.tensor([5, 5])) == pytest.approx(0)
    assert kl_to_even(torch.tensor([9, 0, 0])) == pytest.approx(math.log(3))
    assert kl_to_even(torch.tensor([3, 1])) == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))


def test_stacks_are_read_channel_by_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    class Brightness(nn.Module):
        def predict(self, images: Tensor) -> Tensor:
            assert images.shape[1] == 1
            return (images.amax((1, 2, 3)) * 10).round().long()

    monkeypatch.setattr(modes.EXTRACTORS, "build", lambda spec, where: Brightness())
    images = torch.tensor([[0.1, 0.2, 0.3], [0.9, 0.0, 0.7]])[:, :, None, None].expand(-1, -1, 4, 4)
    assert spelled(images).tolist() == [123, 907]


def test_modes_of_other_data_are_not_known() -> None:
    with pytest.raises(ConfigError, match="use dataset=ring"):
        evaluate(Modes(), Draws(torch.zeros(9, 1, 8, 8)), Digits().open(CPU), 0)
    with pytest.raises(ConfigError, match="use dataset=ring"):  # one point, and no deviation to be near it by
        evaluate(Modes(n=9), Draws(torch.zeros(9, 1, 1, 1)), Dirac(n=90).open(CPU), 0)


def gan(**changes: Any) -> Any:
    spec = spec_of("gan") | {"output": "linear", "latent_dim": 2} | changes
    spec["generator"], spec["discriminator"] = {"name": "mlp", "hidden": []}, {"name": "mlp", "hidden": []}
    return MODELS.build(spec, "model", image_shape=(2, 1, 1))


@pytest.mark.parametrize("pack", [1, 3])
def test_samples_are_driven_up_the_logit_as_one_alone_would_be(pack: int) -> None:
    model = gan(regularizers={"pack": {"size": pack}} if pack > 1 else {})
    slope = torch.arange(1.0, 2 * pack + 1)
    with torch.no_grad():
        model.discriminator[1].weight.copy_(slope)
        model.discriminator[1].bias.zero_()
    at, data = torch.tensor([[0.5, -1.0], [2.0, 0.1]]), torch.zeros(5, 2, 1, 1)
    logit = alone(model, data)
    expected = at @ torch.tensor([1.0, 2.0])  # the others are at 0
    assert torch.allclose(logit(at), expected)
    force = torch.sigmoid(-expected)[:, None] * torch.tensor([1.0, 2.0])  # −∇softplus(−D)
    assert torch.allclose(drive(model, logit, at), force, atol=1e-6)


def test_points_are_shown_by_their_own_evaluator_alone() -> None:
    data = Ring(n=100, valid=50).open(CPU)
    [(name, shown)] = evaluate(PointsPlot(n=20), gan(), data, 0)
    assert name == "points"
    assert isinstance(shown, Image)
    assert shown.pixels.shape == (3, 480, 480)
    assert evaluate(SamplesGrid(n=4), gan(), data, 0) == []
    assert evaluate(PointsPlot(n=4), Draws(torch.zeros(4, 1, 8, 8)), Digits().open(CPU), 0) == []


def test_the_arrows_of_a_flow_are_its_velocity_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(points, "plot", lambda *given: drawn.append(given))
    flow = known(FlowMatching, lambda x, t, label: t * x)
    sampling = {"steps": 1, "solver": "euler"}
    evaluate(PointsPlot(n=20, time=0.25, sampling=sampling), flow, Ring(n=100, valid=50).open(CPU), 0)
    [(_, value, arrows, dots)] = drawn
    assert value is None
    at = torch.tensor([[1.0, -2.0], [0.0, 4.0]])
    assert torch.equal(arrows(at), 0.25 * at)
    rng.seed(0, 2**31)
    assert torch.equal(dots[1][0], flow.sample(20, **sampling).flatten(1))


@pytest.mark.parametrize("evaluator", [PointsPlot, Modes])
def test_options_of_sampling_reach_the_model_and_unknown_ones_are_refused(evaluator: Any) -> None:
    data = Ring(n=100, valid=50).open(CPU)
    flow = known(FlowMatching, lambda x, t, label: x)
    with pytest.raises(ConfigError, match=r"evaluator\.sampling"):
        evaluator(sampling={"step": 3}).check(flow, data.split("valid"))
    calls = []
    monitored = flow.network.register_forward_hook(lambda *_: calls.append(1))
    evaluate(evaluator(n=10, sampling={"steps": 3, "solver": "euler"}), flow, data, 0)
    monitored.remove()
    assert len(calls) == 3 + (evaluator is PointsPlot)  # and the arrows


def test_arrows_have_heads_and_marks_lie_on_top() -> None:
    """One arrow to the right, along the middle: thick near its end; a mark under which path and arrow vanish."""
    window = Window((-1.0, -1.0), (1.0, 1.0), side=120)
    right = lambda points: torch.tensor([[1.0, 0.0]]).expand(len(points), 2)  # noqa: E731
    path = torch.tensor([[0.0, -0.4], [0.0, 0.4]])
    plain = plot(window, None, right, grid=1).pixels.amin(0)
    ink = (plain[50:71] < 200).sum(0)  # of each column, away from the numbers
    assert ink[20] == 1
    assert ink[108:114].max() >= 4
    marked = plot(window, None, right, path=path, marks=[(torch.zeros(1, 2), (200, 0, 0), 4.0)], grid=1)
    assert marked.pixels[:, 58:63, 58:63].flatten(1).unique(dim=1).tolist() == [[200], [0], [0]]


def test_colors_arrows_and_dots_are_where_they_belong() -> None:
    window = Window((-1.0, -1.0), (1.0, 1.0), side=120)
    right = torch.tensor([[0.5, 0.5]])
    shown = plot(window, lambda points: points[:, 0], None, [(right, (0, 0, 0), 3.0)])
    red, _, blue = shown.pixels.int()
    assert red[60, 115] > blue[60, 115]  # real on the right
    assert blue[60, 4] > red[60, 4]
    assert shown.pixels[:, 30, 90].tolist() == [0, 0, 0]  # up is up
    assert shown.pixels[:, 90, 90].tolist() != [0, 0, 0]
    drawn = shown.pixels[:, 100:, :30], shown.pixels[:, 100:, -30:], shown.pixels[:, :20, :30]
    assert all((part.amin(0) < 90).any() for part in drawn)  # the limits of the axes
    assert window.lattice(2).tolist() == [[-0.5, 0.5], [0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]]
