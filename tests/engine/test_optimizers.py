"""Schedules against their formulas, the weight average against the recursion, phases against their own rates."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from genlab.config.schema import check_optimizer, check_phases, phase_spec
from genlab.config.trainer_config import TrainerConfig, cadence, in_steps
from genlab.engine.fused_adam import Adam
from genlab.engine.optimizers import Average
from genlab.errors import ConfigError
from genlab.registry import OPTIMIZERS, SCHEDULES, discover

discover()


@pytest.mark.parametrize(
    ("spec", "done", "factor"),
    [
        ({"name": "constant"}, 0.3, 1.0),
        ({"name": "constant", "warmup": 0.1}, 0.05, 0.5),
        ({"name": "linear"}, 0.25, 0.75),
        ({"name": "linear", "start": 0.5, "final": 0.2}, 0.75, 0.6),
        ({"name": "linear", "start": 0.5}, 0.4, 1.0),
        ({"name": "cosine"}, 0.5, 0.5),
        ({"name": "cosine", "final": 0.1}, 1.0, 0.1),
        ({"name": "cosine"}, 1 / 3, 0.5 * (1 + math.cos(math.pi / 3))),
        ({"name": "multistep", "milestones": [0.5, 0.75], "factor": 0.1}, 0.49, 1.0),
        ({"name": "multistep", "milestones": [0.5, 0.75], "factor": 0.1}, 0.6, 0.1),
        ({"name": "multistep", "milestones": [0.5, 0.75], "factor": 0.1}, 0.8, 0.01),
    ],
)
def test_schedule(spec, done, factor) -> None:
    assert SCHEDULES.build(spec)(done) == pytest.approx(factor)


def test_average_follows_the_recursion_with_its_warm_up() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    average = Average(model, 0.9)
    expected = model[0].weight.detach().clone()
    for step in range(1, 60):
        with torch.no_grad():
            model[0].weight.add_(torch.randn(2, 3))
            model[1].running_mean.add_(1)
        average.at(step)
        average.blend()
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model[0].weight.detach()
    assert torch.allclose(average.model[0].weight, expected, atol=1e-5)
    assert torch.equal(average.model[1].running_mean, model[1].running_mean)
    assert not any(p.requires_grad for p in average.model.parameters())


def test_a_phase_can_have_its_own_rate() -> None:
    spec = {"name": "adam", "lr": 1e-3, "betas": [0.5, 0.9], "phases": {"discriminator": {"lr": 4e-4}}}
    check_optimizer(spec)
    weight = [torch.nn.Parameter(torch.zeros(2))]
    critic = OPTIMIZERS.build(phase_spec(spec, "discriminator"), params=weight)
    player = OPTIMIZERS.build(phase_spec(spec, "generator"), params=weight)
    assert critic.param_groups[0]["lr"] == 4e-4
    assert player.param_groups[0]["lr"] == 1e-3
    assert critic.param_groups[0]["betas"] == (0.5, 0.9)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"name": "adam", "lr": -1.0, "phases": {}}, "optimizer.lr"),
        ({"name": "adam", "lr": float("nan"), "phases": {}}, "optimizer.lr"),
        ({"name": "adamm", "lr": 1.0}, "did you mean 'adam'"),
        ({"name": "adam", "betas": [0.9, 1.0]}, "optimizer.betas"),
        ({"name": "adam", "momentum": 0.9}, "optimizer.momentum"),
        ({"name": "adam", "phases": {"generator": {"lrr": 1.0}}}, "did you mean 'lr'"),
        ({"name": "adam", "phases": {"generator": 3}}, "optimizer.phases.generator"),
    ],
)
def test_wrong_optimizers_are_named(spec, says) -> None:
    with pytest.raises(ConfigError, match=says.replace(".", r"\.")):
        check_optimizer(spec)


def test_unknown_phase_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'generator'"):
        check_phases({"phases": {"generater": {}}}, ["discriminator", "generator"])


@pytest.mark.parametrize(("duration", "steps"), [(7, 7), ("2ep", 20), ("0.5epochs", 5), ("10%", 50), ("0.001%", 1)])
def test_durations(duration, steps) -> None:
    assert in_steps(duration, per_epoch=10.0, total=500) == steps


@pytest.mark.parametrize(
    ("every", "total", "rows", "steps"),
    [
        (None, 500, 100, 500),  # at the end
        (7, 500, 10**9, 7),  # what is asked for is done
        ("2%", 500, 10**9, 10),
        ("auto", 5000, 100, 250),  # 5 %
        ("auto", 500, 1000, 313),  # 1,000 images for each 10,000 trained on, in batches of 32
        ("auto", 300, 1000, 313),  # a short run: the end alone
    ],
)
def test_cadence(every, total, rows, steps) -> None:
    assert cadence(every, per_epoch=100.0, total=total, n=rows, batch_size=32) == steps


def test_steps_win_over_epochs() -> None:
    assert TrainerConfig(steps=7, epochs=3).total(100.0) == 7
    assert TrainerConfig(epochs=2.5).total(100.0) == 250
    with pytest.raises(ConfigError, match="length"):
        TrainerConfig(steps=None, epochs=None).total(10.0)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_is_torchs_to_the_bit(decoupled: bool) -> None:
    """Every step, one in which a parameter has no gradient, one skipped on the device, and after a checkpoint."""
    theirs = torch.optim.AdamW if decoupled else torch.optim.Adam
    nets = [torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Linear(4, 3)) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    ours = Adam(nets[0].parameters(), lr=0.01, weight_decay=0.1, decoupled_weight_decay=decoupled)
    reference = theirs(nets[1].parameters(), lr=0.01, weight_decay=0.1, fused=True)
    for step in range(12):
        x = torch.randn(7, 5)
        for net, optimizer in zip(nets, (ours, reference), strict=True):
            net(x).square().sum().backward()
            if step == 4:
                net[1].bias.grad = None
            optimizer.found_inf = torch.tensor(float(step == 6))
            optimizer.param_groups[0]["lr"] = 0.01 / (step + 1)
            optimizer.step()
            optimizer.zero_grad()
            if step == 8:
                optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        assert all(torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True)), step
    counts = [float(state["step"]) for state in ours.state.values()]
    assert counts == [11, 11, 11, 10]
    assert counts == [float(state["step"]) for state in reference.state.values()]
