"""Fewer labels and fewer classes: what is left of each split."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from genlab.data.datasets.digits import Digits
from genlab.data.subsets import balanced, with_classes
from genlab.errors import ConfigError
from tests.support import synthetic

CPU = torch.device("cpu")
LABELS = np.repeat(np.arange(5), [100, 50, 25, 20, 6])
TRAIN = np.arange(10, 201)


@pytest.mark.parametrize("n", [5, 7, 15, 30])
def test_each_class_has_its_share_of_the_labels(n: int) -> None:
    counts = np.bincount(LABELS[balanced(TRAIN, LABELS, n, seed=1)], minlength=5)
    assert counts.sum() == n
    assert counts.max() - counts.min() == (1 if n % 5 else 0)


def test_few_labels_lie_within_more_and_the_seed_decides() -> None:
    chosen = [balanced(TRAIN, LABELS, n, seed=3) for n in (5, 8, 12, 30)]
    for few, more in pairwise(chosen):
        assert set(few) < set(more)
    assert all(set(rows) <= set(TRAIN) and len(set(rows)) == len(rows) for rows in chosen)
    assert np.array_equal(chosen[-1], balanced(TRAIN, LABELS, 30, seed=3))
    assert not np.array_equal(chosen[-1], balanced(TRAIN, LABELS, 30, seed=4))
    assert balanced(TRAIN, LABELS, None, seed=3) is TRAIN


@pytest.mark.parametrize("n", [4, 31, 10_000])
def test_a_number_that_cannot_be_is_answered_with_those_that_can(n: int) -> None:
    with pytest.raises(ConfigError, match=r"dataset.num_labels; 5 classes, the smallest of 6 .*from 5 to 30"):
        balanced(TRAIN, LABELS, n, seed=0)


def test_classes_leave_the_test_split_alone() -> None:
    rows = np.random.default_rng(0).permutation(201)
    splits = {"train": rows[:150], "valid": rows[150:180], "test": rows[180:]}
    kept = with_classes(splits, LABELS, [0, 3])
    assert np.array_equal(kept["test"], splits["test"])
    for name in ("train", "valid"):
        assert kept[name].tolist() == [row for row in splits[name] if LABELS[row] in (0, 3)]
    assert kept["outside"].tolist() == [row for row in splits["valid"] if LABELS[row] not in (0, 3)]
    assert with_classes(splits, None, None) is splits


def test_classes_that_are_not_there_or_cannot_be() -> None:
    splits = {"train": TRAIN, "valid": np.arange(10), "test": np.arange(0)}
    with pytest.raises(ConfigError, match=r"no image is of class 9; key dataset.classes; .* 0, 1, 2, 3, 4"):
        with_classes(splits, LABELS, [0, 9])
    for labels in (None, np.zeros((201, 40))):
        with pytest.raises(ConfigError, match="do not have one class per image"):
            with_classes(splits, labels, [0])
        with pytest.raises(ConfigError, match="do not have one class per image"):
            balanced(TRAIN, labels, 5, seed=0)


@pytest.mark.usefixtures("fresh")
def test_a_data_set_of_two_classes_and_few_labels() -> None:
    plain, chosen = Digits().open(CPU), Digits(classes=[7, 1], num_labels=10).open(CPU)
    assert sorted(chosen.split("train").classes().tolist()) == [1] * 5 + [7] * 5
    assert set(chosen.split("valid").classes().tolist()) == {1, 7}
    assert set(chosen.split("outside").classes().tolist()) == set(range(10)) - {1, 7}
    assert torch.equal(chosen.split("test").indices, plain.split("test").indices)
    assert chosen.num_classes == 10
    others = [
        Digits(),
        Digits(classes=[7, 1]),
        Digits(num_labels=10),
        Digits(num_labels=20),
        Digits(classes=[1], num_labels=10),
    ]
    prints = [each.open(CPU).fingerprint for each in others] + [chosen.fingerprint]
    assert len(set(prints)) == len(prints)
    assert Digits(classes=[1, 7]).open(CPU).fingerprint == prints[1]


@pytest.mark.usefixtures("fresh")
def test_classes_of_a_split(tmp_path) -> None:
    from genlab.data.datasets.celeba import CelebA
    from genlab.data.datasets.folder import Folder

    data = Folder(root=str(synthetic.folder(tmp_path / "own", {"cat": 6, "dog": 6})), size=8).open(CPU)
    split = data.split("train")
    assert torch.equal(split.classes(), split.take(99, ("label",))[0])
    synthetic.celeba(tmp_path)
    assert CelebA(root=str(tmp_path), size=8).open(CPU).split("train").classes() is None  # forty attributes an image
