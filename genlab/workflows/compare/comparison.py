"""A comparison of groups of runs: what differs, the metrics of each, and what to conclude."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genlab.runs.selection import select
from genlab.workflows.compare.groups import Group, differences, grouped
from genlab.workflows.compare.metrics import Metric, chosen, metrics, spread
from genlab.workflows.compare.significance import POWER, Summary
from genlab.workflows.compare.verdicts import Pair, judged, method


@dataclass(frozen=True)
class Comparison:
    """What `genlab.compare` and `genlab compare` found."""

    groups: Sequence[Group]
    differences: Mapping[str, Sequence[str]]  # key of the configuration -> value of each group
    metrics: Sequence[Metric]
    pairs: Sequence[Pair]
    not_compared: Mapping[str, str]  # metric -> why
    left_out: Sequence[str]  # runs, with the reason
    alpha: float

    def records(self) -> list[dict[str, Any]]:
        """One flat record for each run and metric: what `csv=` writes and `pandas.DataFrame` takes."""
        return [
            {"group": group.letter, "configuration": group.label, "run": str(run.path), "seed": run.seed,
             "metric": metric.title, "source": metric.key.source, "split": metric.key.split, "name": metric.key.name,
             "value": value.mean, "sampling_sd": value.sd if value.n > 1 else None, "sampling_seeds": value.n}
            for metric in self.metrics for group in self.groups for run in group.runs
            if (value := metric.values.get(group.letter, {}).get(run.seed)) is not None
        ]  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        letters = [group.letter for group in self.groups]
        return {
            "alpha": self.alpha, "power": POWER, "method": list(method(self.pairs, self.alpha)),
            "groups": [{"group": group.letter, "configuration": group.label,
                        "runs": [{"run": str(run.path), "seed": run.seed} for run in group.runs]}
                       for group in self.groups],
            "differences": {key: dict(zip(letters, values, strict=True)) for key, values in self.differences.items()},
            "metrics": [self._metric(metric) for metric in self.metrics],
            "not_compared": dict(self.not_compared), "left_out": list(self.left_out),
        }  # fmt: skip

    def _metric(self, metric: Metric) -> dict[str, Any]:
        return {
            "metric": metric.title, "protocol": dict(metric.protocol),
            "groups": {letter: {"values": {str(seed): each.mean for seed, each in values.items()},
                                **_plain(metric.over_training(letter)), "sampling_sd": spread(values)}
                       for letter, values in metric.values.items()},
            "pairs": [_pair(pair) for pair in self.pairs if pair.metric is metric],
        }  # fmt: skip

    def __str__(self) -> str:
        from genlab.workflows.compare.tables import lines

        return "\n".join(lines(self))


def compare(names: Sequence[str | Path], patterns: Sequence[str] = (), alpha: float = 0.05) -> Comparison:
    """Compare the named runs, sweeps and patterns, as `genlab compare` does; `patterns` choose metrics by name.

    ConfigError if a name has no run, if no run can be used, or if no metric fits a pattern.
    """
    groups, left_out = grouped(select([str(name) for name in names], "genlab compare"))
    found, refused = chosen(*metrics(groups), patterns)
    not_compared = {str(key): why for key, why in refused.items()}
    return Comparison(groups, differences(groups), found, judged(found, alpha), not_compared, left_out, alpha)


def _plain(summary: Summary) -> dict[str, Any]:
    return {"mean": summary.mean, "sd": summary.sd if summary.n > 1 else None, "n": summary.n}


def _pair(pair: Pair) -> dict[str, Any]:
    found: dict[str, Any] = {"first": pair.first, "second": pair.second, "verdict": pair.verdict}
    if pair.test is None:
        return found
    return found | {
        "over": pair.over, "paired": pair.test.paired, "difference": pair.test.difference, "low": pair.test.low,
        "high": pair.test.high, "p": pair.test.p, "p_holm": pair.adjusted, "more_seeds": pair.more_seeds,
    }  # fmt: skip
