"""The statistics of comparisons: against SciPy's tests, closed forms, published tables, and simulated comparisons."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from genlab.workflows.compare.significance import Summary, holm, paired, power, seeds_needed, welch

DRAW = np.random.default_rng(0)


def test_tests_equal_those_of_scipy() -> None:
    a, b = DRAW.normal(0, 1, 5), DRAW.normal(0.5, 3, 5)
    own, other = paired(a, b, 0.05), stats.ttest_rel(b, a)
    assert own.p == pytest.approx(other.pvalue)
    assert (own.low, own.high) == pytest.approx(tuple(other.confidence_interval(0.95)))
    own, other = welch(Summary.of(a), Summary.of(b[:3]), 0.1), stats.ttest_ind(b[:3], a, equal_var=False)
    assert own.p == pytest.approx(other.pvalue)
    assert (own.low, own.high) == pytest.approx(tuple(other.confidence_interval(0.9)))
    assert own.difference == pytest.approx(b[:3].mean() - a.mean())


def test_values_without_any_spread_are_equal_or_have_no_p() -> None:
    same, other = Summary.of([2.0, 2.0, 2.0]), Summary.of([3.0, 3.0])
    assert welch(same, same, 0.05).p == 1
    assert math.isnan(welch(same, other, 0.05).p)
    assert math.isnan(paired([8.0, 8.0], [7.0, 7.0], 0.05).p)
    assert paired([1.0, 2.0], [1.0, 2.0], 0.05).p == 1
    assert paired([0.1 + 0.2, 0.3, 0.3], [0.3, 0.3, 0.3], 0.05).p == 1  # a sum in another order
    assert paired([0.0, 0.0], [0.0, 0.0], 0.05).p == 1
    assert seeds_needed(welch(same, same, 0.05), 0.05, 100) is None


def test_holms_correction_by_hand() -> None:
    # Holm (1979): 4 * 0.01, 3 * 0.015, then 2 * 0.02 = 0.04, which is less than the one before
    assert holm([0.02, 0.5, 0.01, 0.015]) == pytest.approx([0.045, 0.5, 0.04, 0.045])
    assert holm([]) == []


@pytest.mark.parametrize(
    ("effect", "pairs", "n"),
    [(0.2, False, 394), (0.5, False, 64), (0.8, False, 26), (1.0, False, 17), (0.5, True, 34), (1.0, True, 10)],
)
def test_seeds_needed_equal_cohens_tables(effect: float, pairs: bool, n: int) -> None:
    """Cohen (1988), tables 2.4.1: two-sided, α = 0.05, power 0.8."""
    values = [effect - 1 / math.sqrt(2), effect + 1 / math.sqrt(2)]  # standard deviation 1
    zero = [-1 / math.sqrt(2), 1 / math.sqrt(2)]
    test = paired([0.0, 0.0], values, 0.05) if pairs else welch(Summary.of(zero), Summary.of(values), 0.05)
    assert test.sd == pytest.approx(1)
    assert seeds_needed(test, 0.05, 1000) == n
    assert seeds_needed(test, 0.05, n - 1) is None


def test_many_seeds_are_as_many_as_a_normal_distribution_needs() -> None:
    """n = 2 (z₁₋α⸝₂ + z_power)² / effect²: the closed form with known deviations."""
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    test = welch(Summary(0, 1, 5), Summary(0.05, 1, 5), 0.05)
    assert seeds_needed(test, 0.05, 10_000) == pytest.approx(2 * z**2 / 0.05**2, rel=1e-3)


def test_power_is_the_fraction_of_simulated_differences_that_are_found() -> None:
    for n, effect, pairs in ((10, 1.3, False), (5, 2.0, True)):
        shape = (4000, n)
        first, second = DRAW.normal(0, 1, shape), DRAW.normal(effect, 1, shape)
        if pairs:
            first, second = np.zeros(shape), DRAW.normal(effect, 1, shape)
        tests = [paired(a, b, 0.05) if pairs else welch(Summary.of(a), Summary.of(b), 0.05)
                 for a, b in zip(first, second, strict=True)]  # fmt: skip
        found = float(np.mean([test.p < 0.05 for test in tests]))
        assert found == pytest.approx(float(power(effect, np.array(n), 0.05, pairs)), abs=0.03)
