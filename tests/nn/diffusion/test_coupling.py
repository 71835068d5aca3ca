"""Optimal pairs of noise and data."""

from __future__ import annotations

import itertools

import pytest
import torch

from genlab.errors import ConfigError
from genlab.models.flows.flow_matching import FlowMatching
from genlab.nn.diffusion.coupling import optimally_paired
from tests.support.fields import known


def test_pairs_have_the_least_distance_of_all_permutations() -> None:
    torch.manual_seed(0)
    noise, data = torch.randn(5, 2, 1, 1), torch.randn(5, 2, 1, 1)
    paired = optimally_paired(noise, data, 5)
    costs = [(data - noise[list(order)]).square().sum() for order in itertools.permutations(range(5))]
    assert (data - paired).square().sum() == pytest.approx(float(min(costs)))


def test_groups_are_paired_apart_and_the_last_may_be_smaller() -> None:
    torch.manual_seed(0)
    noise, data = torch.randn(7, 3), torch.randn(7, 3)
    paired = optimally_paired(noise, data, 3)
    for i in (0, 3, 6):
        part = slice(i, i + 3)
        assert torch.equal(paired[part].sort(0).values, noise[part].sort(0).values)
        assert torch.equal(paired[part], optimally_paired(noise[part], data[part], 3))


def test_the_batch_of_a_process_holds_whole_groups() -> None:
    model = known(FlowMatching, ot_group=8)
    model.check_batch(16)
    with pytest.raises(
        ConfigError, match=r"a batch of 12 examples cannot be divided into groups of 8; key model.ot_group"
    ):
        model.check_batch(12)


def test_pairs_across_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"gives each class noise of its own; .*; keys model.ot_group and model.cond"):
        known(FlowMatching, ot_group=8, conditional=True)


def test_optimal_pairs_make_the_paths_shorter() -> None:
    torch.manual_seed(0)
    data = torch.randn(256, 2, 1, 1)
    random, paired = (known(FlowMatching, lambda x, t, label: x * 0, ot_group=group) for group in (None, 64))
    assert paired.loss(data)["loss"] < 0.5 * random.loss(data)["loss"]
