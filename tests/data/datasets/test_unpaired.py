"""Two domains without pairs: streams with orders of their own, and what parts a data set in two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from genlab.errors import ConfigError, DataError, GenlabError
from tests.support import synthetic
from tests.support.data import BOTH, opened


def domains(root: Path, counts: dict[str, int]) -> Path:
    """Folders of one-colored pictures: A from 0 upwards, B from 128 upwards."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            shade = i + (128 if name.endswith("B") else 0)
            Image.new("L", (8, 8), shade).save(root / name / f"{i:02d}.png")
    return root


@pytest.mark.usefixtures("fresh")
def test_unpaired_streams_are_epochs_of_their_own(tmp_path: Path) -> None:
    root = domains(tmp_path, {"trainA": 6, "trainB": 4, "testA": 3, "testB": 2})
    data = opened("unpaired", root=str(root), size=8, channels=1, valid=0, flip=True)
    assert data.sizes() == {"train": 6, "valid": 0, "test": 3}
    stream = [data.batches(BOTH, 2).at(step) for step in range(12)]
    a, b = (torch.cat([step[k] for step in stream])[:, 0, 0, 0].mul(255).round().long().tolist() for k in (0, 1))
    for start in range(0, 24, 6):
        assert sorted(a[start : start + 6]) == list(range(6))
    for start in range(0, 24, 4):
        assert sorted(b[start : start + 4]) == [128, 129, 130, 131]
    partners = [{y for x, y in zip(a, b, strict=True) if x == i} for i in range(6)]
    assert any(len(each) > 1 for each in partners)  # pairs change from epoch to epoch
    ranks = [data.batches(BOTH, 4, rank, 2).at(2) for rank in (0, 1)]
    whole = data.batches(BOTH, 4).at(2)
    parts = [data.batches(BOTH, 4).at(2, part, 2) for part in (0, 1)]
    for column in (0, 1):
        assert torch.equal(torch.cat([rank[column] for rank in ranks]), whole[column])
        assert torch.equal(torch.cat([part[column] for part in parts]), whole[column])
    a, b = data.split("test").take(3, BOTH)
    assert (b[:, 0, 0, 0] * 255).round().tolist() == [128, 129, 128]  # cycled


@pytest.mark.usefixtures("fresh")
def test_an_attribute_parts_a_data_set(tmp_path: Path) -> None:
    synthetic.celeba(tmp_path)  # attribute k of picture i is (i + k) odd
    celeba = {"base": {"name": "celeba"}, "root": str(tmp_path), "size": 8}
    data, whole = opened("unpaired", **celeba, attribute="Attribute_0"), opened("celeba", root=str(tmp_path), size=8)
    images, labels = whole.split("train").take(99, ("image", "label"))
    a, b = data.split("train").take(99, BOTH)
    assert torch.equal(a, images[labels[:, 0] == 0])
    assert torch.equal(b, images[labels[:, 0] == 1])
    assert data.fingerprint != opened("unpaired", **celeba, attribute="Attribute_1").fingerprint
    assert data.batches(("image",), 2).at(0)[0].shape == (2, 3, 8, 8)
    limited = opened("unpaired", **celeba, attribute="Attribute_0", limit=2)
    assert limited.sizes()["train"] == 2
    with pytest.raises(ConfigError, match="Attribute_0"):
        opened("unpaired", **celeba, attribute="Attribut_0")


def test_two_classes_part_a_data_set() -> None:
    digits = {"base": {"name": "digits"}, "size": None}
    data, whole = opened("unpaired", **digits, classes=[4, 9]), opened("digits")
    images, labels = whole.split("train").take(9999, ("image", "label"))
    a, b = data.split("train").take(9999, BOTH)
    assert torch.equal(a, images[labels == 4])
    nines = images[labels == 9]
    assert torch.equal(b, nines[torch.arange(len(a)) % len(nines)])


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"base": {"name": "digits"}}, "divided by one attribute or"),
        (
            {"base": {"name": "digits"}, "classes": [0, 1], "attribute": "x"},
            "divided by one attribute or",
        ),
        ({"base": {"name": "digits"}, "attribute": "Smiling", "size": None}, "has classes, not attributes"),
        ({"base": {"name": "digits"}, "classes": [0, 12], "size": None}, "has no class 12"),
        ({"attribute": "Smiling"}, "folders have no attributes"),
        ({"base": {"name": "digit"}, "classes": [0, 1]}, "did you mean 'digits'"),
        ({}, "needs a folder"),
    ],
)
def test_domains_that_cannot_be_are_refused_in_one_line(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(GenlabError, match=said) as caught:
        opened("unpaired", **keys)
    assert "\n" not in str(caught.value)
    assert caught.value.code in (2, 3)


@pytest.mark.usefixtures("fresh")
def test_an_empty_domain_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"trainB is missing; key dataset\.root: the folder that holds trainA and trainB"
    ):
        opened("unpaired", root=str(domains(tmp_path, {"trainA": 2})), size=8)
    (tmp_path / "trainB").mkdir()
    with pytest.raises(DataError, match="trainB holds no images"):
        opened("unpaired", root=str(tmp_path), size=8)


@pytest.mark.usefixtures("fresh")
def test_six_pictures_of_each_domain_hold_one_pair_out(tmp_path: Path) -> None:
    data = opened("unpaired", root=str(domains(tmp_path, {"trainA": 6, "trainB": 6})), size=8, channels=1)
    assert data.sizes() == {"train": 4, "valid": 1, "test": 1}
    shades = [data.split(name).take(9, BOTH) for name in data.sizes()]
    a, b = (torch.cat([pair[k] for pair in shades])[:, 0, 0, 0].mul(255).round().long().tolist() for k in (0, 1))
    assert sorted(a) == list(range(6))
    assert sorted(b) == list(range(128, 134))


def test_the_real_celeba_by_smile(real_data: Path) -> None:
    data = opened("unpaired", base={"name": "celeba"}, attribute="Smiling", root=str(real_data))
    lists = (real_data / "celeba" / f"list_{name}.txt" for name in ("eval_partition", "attr_celeba"))
    partition, (_, names, *attributes) = (path.read_text().splitlines() for path in lists)
    train = {line.split()[0] for line in partition if line.split()[1] == "0"}
    smiles = [row.split()[1 + names.split().index("Smiling")] for row in attributes if row.split()[0] in train]
    assert data.sizes()["train"] == max(smiles.count("1"), smiles.count("-1"))  # a step takes one image of each domain
    assert data.split("train").table.aligned is False
