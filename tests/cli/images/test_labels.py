"""Classes by number or name, and lists of them that take turns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from genlab.cli.images import sample
from genlab.cli.images.image_command import Target, _class_numbers
from genlab.core import rng
from genlab.core.sampling import sample_batches
from genlab.errors import ConfigError
from tests.support.untrained import loaded_run

FASHION = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


@pytest.mark.parametrize(
    ("word", "names", "expected"),
    [
        ("label=0,1,2", FASHION, "label=[0,1,2]"),
        ("label=[0,1,2]", FASHION, "label=[0,1,2]"),
        ("label=sneaker, BAG", FASHION, "label=[7,8]"),
        ("label=ankle boot", FASHION, "label=9"),
        ("label=1,bag", FASHION, "label=[1,8]"),
        ("label=7", FASHION, "label=7"),
        ("label=99", FASHION, "label=99"),  # the model says how many classes it has
        ("label=1", ["4", "9"], "label=1"),  # the number of a class comes before a name
        ("label=9,4", ["4", "9"], "label=[1,0]"),
        ("label=null", FASHION, "label=null"),
        ("steps=3", FASHION, "steps=3"),
        ("label=3", [], "label=3"),
    ],
)
def test_classes_are_named_by_number_or_by_word(word: str, names: list[str], expected: str) -> None:
    assert _class_numbers(word, names) == expected


def test_an_unknown_class_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"there is no class 'sneakers'; key label; did you mean 'Sneaker'"):
        _class_numbers("label=bag,sneakers", FASHION)


def test_the_classes_of_a_list_take_turns(tmp_path: Path) -> None:
    loaded = loaded_run("cvae")
    found = {}
    for name, label in (("three", 3), ("five", 5), ("both", [3, 5])):
        rng.seed(0)
        sample.sample(loaded, sample.Keys(n=6, out=f"{name}.npy"), label=label)(Target(tmp_path, f"{name}.npy"))
        found[name] = torch.from_numpy(np.load(tmp_path / f"{name}.npy"))
    assert torch.equal(found["both"][0::2], found["three"][0::2])
    assert torch.equal(found["both"][1::2], found["five"][1::2])
    assert not torch.equal(found["three"], found["five"])


def test_every_batch_but_the_last_holds_whole_turns() -> None:
    rng.seed(0)
    sizes = [len(part) for part in sample_batches(loaded_run("cvae").model, 600, 256, label=[0, 1, 2])]
    assert sizes == [255, 255, 90]
