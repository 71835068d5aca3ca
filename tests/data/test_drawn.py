"""Some of a split: the samples that `drawn` and `take` choose."""

from __future__ import annotations

import torch

from genlab.data.dataset import Split
from genlab.data.loader import Data
from genlab.data.store.table import Table


def sorted_by_class(counts: list[int], split_seed: int = 0, labeled: bool = True) -> Split:
    """So many images of each class, class after class, as the files of an image folder are."""
    label = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    columns = {"image": torch.zeros(len(label), 1, 2, 2, dtype=torch.uint8)} | ({"label": label} if labeled else {})
    table = Table("shades", columns, torch.device("cpu"), resident=True)
    data = Data(table, {"valid": torch.arange(len(label))}, None, "f" * 64, 0, False, split_seed)
    return data.split("valid")


def taken(split: Split, n: int) -> list[int]:
    return split.drawn(n).indices.tolist()


def test_a_draw_has_the_class_proportions_of_the_split() -> None:
    split = sorted_by_class([60, 30, 10])
    for n in (10, 20, 50):
        assert split.take(n, ("label",))[0].bincount().tolist() == [6 * n // 10, 3 * n // 10, n // 10]


def test_a_draw_is_fixed_by_the_split_seed_and_contains_the_smaller_ones() -> None:
    split, other = (sorted_by_class([100, 100], seed) for seed in (0, 1))
    assert taken(split, 90) == taken(split, 90)
    assert taken(split, 90)[:20] == taken(split, 20)
    assert len(set(taken(split, 90))) == 90
    assert sorted(taken(split, 90)) != sorted(taken(other, 90))


def test_without_classes_a_draw_still_spreads_over_the_split() -> None:
    rows = torch.tensor(taken(sorted_by_class([1000], labeled=False), 90)).float()
    assert 400 < rows.mean() < 600
    assert rows.max() - rows.min() > 700


def test_a_whole_split_keeps_its_order() -> None:
    split = sorted_by_class([4, 4])
    assert split.drawn(8) is split
    assert split.drawn(9) is split
