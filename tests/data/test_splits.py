from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from genlab.data.splits import carve, limited
from genlab.errors import ConfigError

LABELS = np.repeat(np.arange(5), [100, 50, 25, 20, 5])
ALL = {"train": np.arange(200)}
HELD = {"valid": 0.1, "test": 40}


def test_splits_are_disjoint_complete_and_fixed_by_seed() -> None:
    splits = carve(ALL, LABELS, HELD, seed=1)
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 140, "valid": 20, "test": 40}
    assert np.array_equal(np.sort(np.concatenate(list(splits.values()))), np.arange(200))
    again, other = carve(ALL, LABELS, HELD, seed=1), carve(ALL, LABELS, HELD, seed=2)
    assert all(np.array_equal(splits[name], again[name]) for name in splits)
    assert not np.array_equal(splits["test"], other["test"])


def test_classes_are_held_out_in_proportion() -> None:
    splits = carve(ALL, LABELS, HELD, seed=1)
    for name, share in (("test", 0.2), ("valid", 0.1)):
        counts = np.bincount(LABELS[splits[name]], minlength=5)
        assert np.abs(counts - share * np.bincount(LABELS)).max() <= 1


def test_official_splits_are_kept_and_only_missing_ones_carved() -> None:
    parts = {"train": np.arange(10, 110), "test": np.arange(10)}
    splits = carve(parts, None, {"valid": 7, "test": 0.5}, seed=0)
    assert splits["test"].tolist() == list(range(10))
    assert (len(splits["valid"]), len(splits["train"])) == (7, 93)
    assert set(splits["valid"]) < set(range(10, 110))
    untouched = carve({**parts, "valid": np.arange(110, 115)}, None, {"valid": 7}, seed=0)
    assert untouched["train"].tolist() == list(range(10, 110))


def test_a_film_is_cut_not_drawn() -> None:
    splits = carve(ALL, None, {"valid": 0.1, "test": 0.2}, seed=5, contiguous=True)
    assert splits["train"].tolist() == list(range(140))
    assert splits["valid"].tolist() == list(range(140, 160))
    assert splits["test"].tolist() == list(range(160, 200))


def test_nothing_held_out_is_an_empty_split() -> None:
    splits = carve(ALL, None, {"valid": 0, "test": 0.0}, seed=0)
    assert (len(splits["train"]), len(splits["valid"]), len(splits["test"])) == (200, 0, 0)


@pytest.mark.parametrize("held", [{"valid": 200}, {"valid": 150, "test": 50}, {"valid": 0.6, "test": 0.4}])
def test_holding_out_everything_is_a_config_error(held: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="hold out fewer"):
        carve(ALL, None, held, seed=0)


def test_limits_are_nested_and_fixed() -> None:
    rows = np.arange(50, 150)
    chosen = [set(limited(rows, n, seed=3).tolist()) for n in (5, 20, 100, 1000)]
    assert [len(c) for c in chosen] == [5, 20, 100, 100]
    assert all(a < b or a == b for a, b in pairwise(chosen))
    assert chosen[0] != set(range(50, 55))
    assert limited(rows, None, 0) is rows
