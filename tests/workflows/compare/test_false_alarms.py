"""How often `compare` is wrong: it calls equal configurations different, or misses a difference that is there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from genlab.workflows.compare.metrics import Key, Metric
from genlab.workflows.compare.significance import Summary, power
from genlab.workflows.compare.verdicts import judged

ALPHA, FIGURES, COMPARISONS = 0.05, 5, 400
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def metrics(values: np.ndarray, seeds: list[range]) -> list[Metric]:
    """Metrics of `values` (metrics, groups, seeds)."""
    return [
        Metric(Key("fid", "test", str(number)), {}, {letter: {seed: Summary.of([float(value)])
               for seed, value in zip(seeds[index], group, strict=True)}
               for index, (letter, group) in enumerate(zip("ABC", row, strict=False))})
        for number, row in enumerate(values)
    ]  # fmt: skip


def called_different(values: np.ndarray, seeds: list[range]) -> bool:
    return any(pair.verdict.startswith("different") for pair in judged(metrics(values, seeds), ALPHA))


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.exponential(size=shape)


def correlated(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Metrics of one run that rise and fall together, as precision and coverage do."""
    return rng.normal(size=(1, *shape[1:])) + 0.5 * rng.normal(size=shape)


def whole(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Counts, such as modes covered: 7 or 8."""
    return rng.integers(7, 9, shape)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(
    ("groups", "n", "draw"),
    [(2, 3, np.random.Generator.standard_normal), (2, 3, correlated), (3, 4, skewed), (2, 2, whole), (3, 4, whole)],
)
def test_at_most_five_percent_of_comparisons_of_equal_configurations_call_one_different(
    groups: int, n: int, draw: Draw, paired: bool
) -> None:
    rng = np.random.default_rng(0)
    seeds = [range(n)] * groups if paired else [range(n * group, n * (group + 1)) for group in range(groups)]
    wrong = np.mean([called_different(draw(rng, (FIGURES, groups, n)), seeds) for _ in range(COMPARISONS)])
    assert wrong <= ALPHA + 2 * (ALPHA * (1 - ALPHA) / COMPARISONS) ** 0.5  # what chance adds in so many comparisons


def test_without_the_correction_it_would_be_wrong_several_times_as_often() -> None:
    rng = np.random.default_rng(0)
    found = [judged(metrics(rng.standard_normal((FIGURES, 2, 5)), [range(5), range(5, 10)]), ALPHA) for _ in range(200)]
    uncorrected = sum(any(pair.test is not None and pair.test.p < ALPHA for pair in pairs) for pairs in found)
    assert uncorrected > 3 * ALPHA * 200


@pytest.mark.parametrize("paired", [True, False])
def test_a_planted_difference_is_found_with_the_stated_power(paired: bool) -> None:
    """Four standard deviations in one metric of five, five seeds each, 50 comparisons."""
    rng, n, effect = np.random.default_rng(1), 5, 4.0
    values = rng.standard_normal((50, FIGURES, 2, n))
    values[:, 0, 1] += effect
    seeds = [range(n), range(n) if paired else range(n, 2 * n)]
    found = np.mean([called_different(each, seeds) for each in values])
    expected = float(power(effect / (2**0.5 if paired else 1), np.array(n), ALPHA / FIGURES, paired))
    assert found == pytest.approx(expected, abs=0.12)  # two standard errors of 50 comparisons
