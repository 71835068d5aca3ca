"""Whether two means differ by more than chance, from few seeds.

Student's t-test of paired differences; Welch's t-test (1947) where nothing pairs the values; Holm's correction (1979)
for many tests at once; and the seeds that a t-test needs, from the noncentral t distribution (Cohen 1988, chapter 2).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

POWER = 0.8  # of the test for which `seeds_needed` counts seeds
EXACT = 1e-9  # values that differ by a smaller fraction are equal: sums in another order do


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation and number of some values."""

    mean: float
    sd: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """Of at least one value; one value has no deviation (nan)."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else math.nan, len(values))


@dataclass(frozen=True)
class Test:
    """A two-sided t-test: `difference` of two means (second minus first), the ends of its interval, and p.

    p is nan if the means differ and nothing varies: as whole numbers often do, which a t-test is not made for.
    `sd` is the deviation of one seed's difference: of the pairs, or of one value of two equally large groups.
    """

    difference: float
    low: float
    high: float
    p: float
    paired: bool
    sd: float


def paired(first: Sequence[float], second: Sequence[float], alpha: float) -> Test:
    """Values of the same seeds, two or more, in the same order; the interval has the level 1 - alpha."""
    found = Summary.of([b - a for a, b in zip(first, second, strict=True)])
    scale = max(map(abs, [*first, *second]))
    error = found.sd / math.sqrt(found.n)
    return Test(*_student(found.mean, error, found.n - 1, alpha, scale), paired=True, sd=found.sd)


def welch(first: Summary, second: Summary, alpha: float) -> Test:
    """Two groups of two or more values each, whose deviations may differ."""
    errors = [each.sd**2 / each.n for each in (first, second)]
    error = math.sqrt(sum(errors))
    below = sum(e**2 / (each.n - 1) for e, each in zip(errors, (first, second), strict=True))
    freedom = sum(errors) ** 2 / below if below else first.n + second.n - 2  # Welch-Satterthwaite
    scale = max(abs(first.mean), abs(second.mean))
    pooled = math.sqrt((first.sd**2 + second.sd**2) / 2)
    return Test(*_student(second.mean - first.mean, error, freedom, alpha, scale), paired=False, sd=pooled)


def _student(
    difference: float, error: float, freedom: float, alpha: float, scale: float
) -> tuple[float, float, float, float]:
    """The difference, the ends of its interval and p. Without any spread p is 1 for equal means and nan for others."""
    from scipy.special import stdtr, stdtrit

    if abs(difference) <= EXACT * scale:
        difference = 0.0
    if error <= EXACT * scale:
        return difference, difference, difference, math.nan if difference else 1.0
    reach = float(stdtrit(freedom, 1 - alpha / 2)) * error
    p = 2 * float(stdtr(freedom, -abs(difference) / error))
    return difference, difference - reach, difference + reach, p


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p values: if all that are below α are called different, the probability of even one false positive is
    at most α, however the tests depend on each other."""
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = largest
    return adjusted


def power(effect: float, n: np.ndarray, alpha: float, pairs: bool) -> np.ndarray:
    """The probability that a test of n seeds finds a difference of `effect` > 0 standard deviations, with its sign; for
    each number in `n`."""
    from scipy.special import nctdtr, stdtrit

    freedom = n - 1 if pairs else 2 * n - 2
    shift = effect * np.sqrt(n if pairs else n / 2)
    found: np.ndarray = 1 - nctdtr(freedom, shift, stdtrit(freedom, 1 - alpha / 2))
    return found


def seeds_needed(test: Test, alpha: float, most: int) -> int | None:
    """The seeds of each group with which a difference as large as that of `test` would be found with probability
    POWER; None if `most` seeds are too few."""
    if test.sd == 0 or test.difference == 0:
        return None
    effect = abs(test.difference) / test.sd
    counts = np.arange(2, most + 1)
    enough = counts[power(effect, counts, alpha, test.paired) >= POWER]
    return int(enough[0]) if len(enough) else None
