"""What to conclude about each metric: every pair of groups tested, all tests corrected, each pair with a verdict."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from genlab.workflows.compare.metrics import Metric
from genlab.workflows.compare.significance import POWER, Test, holm, paired, seeds_needed, welch

MOST_SEEDS = 30  # that are recommended; where it takes more, the groups are called not distinguishable
NO_SPREAD = "no test: no spread; more seeds needed"  # the difference is the same for all seeds
Over = Literal["training seeds", "sampling seeds"]


@dataclass(frozen=True)
class Pair:
    """Two groups on one metric. `test` is None if seeds or their spread are missing; `adjusted` is its p after Holm's
    correction.

    `over`: what the spread is of. Sampling seeds of one run say nothing about other training seeds.
    """

    metric: Metric
    first: str
    second: str
    test: Test | None = None
    over: Over | None = None
    adjusted: float = math.nan
    verdict: str = ""
    more_seeds: int | None = None  # of each group, if that many would probably find the difference


def judged(metrics: Sequence[Metric], alpha: float) -> list[Pair]:
    """Every pair of groups on every metric, with its verdict.

    Tests over training seeds and tests over sampling seeds are corrected apart.
    """
    pairs = [_tested(metric, *each, alpha) for metric in metrics for each in itertools.combinations(metric.values, 2)]
    families = [
        [pair for pair in pairs if pair.test and pair.over == over] for over in ("training seeds", "sampling seeds")
    ]
    verdicts = {
        id(pair): verdict for family in families for pair, verdict in zip(family, _verdicts(family, alpha), strict=True)
    }
    return [verdicts.get(id(pair), pair) for pair in pairs]


def _verdicts(family: Sequence[Pair], alpha: float) -> Iterator[Pair]:
    adjusted = holm([pair.test.p for pair in family if pair.test])
    for pair, p in zip(family, adjusted, strict=True):
        yield _verdict(replace(pair, adjusted=p), alpha, alpha / len(family))


def method(pairs: Sequence[Pair], alpha: float) -> Iterator[str]:
    """How the verdicts were reached, in sentences."""
    tests = [pair for pair in pairs if pair.test]
    training = [pair for pair in tests if pair.over == "training seeds"]
    if training:
        pairing = {pair.test.paired for pair in training if pair.test}
        kinds = {True: "t-tests of the differences between runs of the same seed", False: "Welch's t-tests"}
        used = " and ".join(kinds[kind] for kind in (True, False) if kind in pairing)
        yield (
            f"Over training seeds: {used}, two-sided, with {100 * (1 - alpha):g}% intervals of each difference alone. "
            f"p (Holm) is corrected for {_count(training)}; a pair is called different if it is below {alpha:g}."
        )
        yield (
            "More seeds: how many it would take for each group to find a difference as large as the observed one with "
            f"probability {POWER:.0%}, at the level {alpha:g}/{len(training)}. Few seeds estimate this roughly. Not "
            f"distinguishable: it would take more than {MOST_SEEDS} seeds."
        )
    sampling = [pair for pair in tests if pair.over == "sampling seeds"]
    if sampling:
        yield (
            "Over sampling seeds: one run in each group, measured with several seeds. Welch's t-tests, p corrected "
            f"(Holm) for {_count(sampling)}. They say nothing about training with other seeds."
        )
    yield "± is the standard deviation over training seeds; for a single run, that over its sampling seeds (*)."


def _count(tests: Sequence[Pair]) -> str:
    return f"{len(tests)} test{'s' if len(tests) > 1 else ''}"


def _tested(metric: Metric, first: str, second: str, alpha: float) -> Pair:
    ours, theirs = metric.values[first], metric.values[second]
    pair = Pair(metric, first, second)
    (a, *_), (b, *_) = ours.values(), theirs.values()
    if len(ours) > 1 and len(theirs) > 1:
        over: Over = "training seeds"
        if ours.keys() == theirs.keys():
            test = paired([ours[seed].mean for seed in ours], [theirs[seed].mean for seed in ours], alpha)
        else:
            test = welch(metric.over_training(first), metric.over_training(second), alpha)
    elif len(ours) == len(theirs) == 1 and a.n > 1 and b.n > 1:
        over, test = "sampling seeds", welch(a, b, alpha)
    else:
        single = " and ".join(letter for letter, values in ((first, ours), (second, theirs)) if len(values) == 1)
        return replace(pair, verdict=f"no test: one training seed of {single}")
    if math.isnan(test.p):
        return replace(pair, verdict=NO_SPREAD)
    return replace(pair, test=test, over=over)


def _verdict(pair: Pair, alpha: float, level: float) -> Pair:
    """`level`: of the first of Holm's steps, at which seeds are counted."""
    test, different = pair.test, pair.adjusted < alpha
    assert test is not None
    if pair.over == "sampling seeds":
        where = "beyond" if different else "within"
        return replace(pair, verdict=f"{where} the noise of sampling; training seeds untested")
    if different:
        return replace(pair, verdict=f"different: {pair.second} is {'higher' if test.difference > 0 else 'lower'}")
    needed = seeds_needed(test, level, MOST_SEEDS)
    if needed is None:
        return replace(pair, verdict="equal" if test.sd == test.difference == 0 else "not distinguishable")
    fewest = min(len(pair.metric.values[letter]) for letter in (pair.first, pair.second))
    more = max(needed - fewest, 1)
    return replace(pair, verdict=f"about {more} more seed{'s' if more > 1 else ''} each", more_seeds=more)
