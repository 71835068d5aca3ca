"""Samples of earlier runs as training images: mixed with real ones, the real set's splits kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genlab.data.datasets.digits import Digits
from genlab.data.datasets.generated import Generated
from genlab.data.loader import Data
from genlab.errors import ConfigError, DataError, ResourceError
from genlab.registry import DATASETS, discover
from genlab.utils import image_file

discover()
DIGITS = {"name": "digits"}
CPU = torch.device("cpu")


def samples(path: Path, n: int = 1800, side: int = 8, seed: int = 0) -> Path:
    generator = torch.Generator().manual_seed(seed)
    with path.open("wb") as file:
        images = torch.randint(0, 256, (n, 1, side, side), dtype=torch.uint8, generator=generator)
        image_file.write(file, path.suffix, images)
    return path


def opened(path: Path | list[Path] | None, **keys: Any) -> Data:
    named = [str(each) for each in path] if isinstance(path, list) else path and str(path)
    return Generated(samples=named, real=DIGITS, **keys).open(CPU)


def images(data: Data, split: str) -> np.ndarray:
    (found,) = data.split(split).take(10_000, ("image",))
    return (found * 255).round().to(torch.uint8).flatten(1).numpy()


def rows(array: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in array}


@pytest.mark.parametrize("kind", image_file.ARRAYS)
def test_a_share_of_the_training_images_is_real_and_the_rest_are_samples(tmp_path: Path, kind: str) -> None:
    path = samples(tmp_path / f"samples{kind}")
    real, drawn = Digits().open(CPU), rows(image_file.read(path).flatten(1).numpy())
    for share in (0.0, 0.25, 1.0):
        data = opened(path, real_fraction=share)
        assert data.sizes() == {**real.sizes(), "real": len(real.split("train"))}
        train = images(data, "train")
        kept = rows(train) & rows(images(real, "train"))
        assert sum(row.tobytes() in drawn for row in train) == len(train) - round(share * len(train))
        assert len(rows(train) - drawn - kept) == 0
        for split in ("valid", "test"):
            assert np.array_equal(images(data, split), images(real, split))
        assert np.array_equal(images(data, "real"), images(real, "train"))
    assert data.name == "generated_digits"
    assert data.num_classes is None


def test_a_larger_share_keeps_the_smaller_ones_images_and_split_seed_draws_others(tmp_path: Path) -> None:
    path, real = samples(tmp_path / "s.npy"), rows(images(Digits().open(CPU), "train"))
    quarter, half = (rows(images(opened(path, real_fraction=share), "train")) & real for share in (0.25, 0.5))
    assert quarter < half
    other = Generated(samples=str(path), real={**DIGITS, "valid": 0}, real_fraction=0.25, split_seed=1)
    assert rows(images(other.open(CPU), "train")) & real != quarter


def test_several_files_are_one_and_the_fingerprint_knows_files_and_share(tmp_path: Path) -> None:
    one, two = samples(tmp_path / "a.npy", 1000), samples(tmp_path / "b.npz", 800, seed=1)
    both = opened([one, two])
    drawn = rows(image_file.read(one).flatten(1).numpy()) | rows(image_file.read(two).flatten(1).numpy())
    assert rows(images(both, "train")) <= drawn
    half, again = (
        images(opened([one, two], real_fraction=0.5), "train"),
        images(opened([one, two], real_fraction=0.5), "train"),
    )
    last = rows(image_file.read(two).flatten(1).numpy())
    # of both files alike: the first alone would do
    assert 0.35 < sum(row.tobytes() in last for row in half) / (len(half) / 2) < 0.55
    assert np.array_equal(half, again)
    alone = images(opened(one, real_fraction=0.5), "train")  # of one file the first, in its order
    assert np.array_equal(alone[718:], image_file.read(one).flatten(1).numpy()[: len(alone) - 718])
    known = {both.fingerprint, opened([two, one]).fingerprint, opened([one, two], real_fraction=0.5).fingerprint}
    samples(one, 1000, seed=5)
    assert len(known | {opened([one, two]).fingerprint}) == 4


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    path = samples(tmp_path / "few.npy", 100)
    with pytest.raises(ConfigError, match=r"no samples are named; key dataset.samples"):
        opened(None)
    with pytest.raises(DataError, match=r"none.npy is missing; key dataset.samples; genlab sample RUN"):
        opened(tmp_path / "none.npy")
    with pytest.raises(ConfigError, match=r"grid.png is another kind of file"):
        opened(tmp_path / "grid.png")
    with pytest.raises(ConfigError, match=r"samples are wanted beside 0 real images, and there are 100"):
        opened(path)
    assert len(opened(path, real_fraction=1.0).split("train")) > 100
    with pytest.raises(ConfigError, match=r"\(1, 4, 4\) and the real images \(1, 8, 8\).*dataset.real.size=4"):
        opened(samples(tmp_path / "small.npy", 2000, side=4))
    with pytest.raises(ConfigError, match="real_fraction"):
        DATASETS.check({"name": "generated", "samples": str(path), "real_fraction": 1.5}, "dataset")
    with pytest.raises(ConfigError, match=r"dataset.real.*did you mean 'digits'"):
        DATASETS.check({"name": "generated", "samples": str(path), "real": {"name": "digit"}}, "dataset")


@pytest.mark.parametrize("kind", image_file.ARRAYS)
def test_a_damaged_or_foreign_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = samples(tmp_path / f"x{kind}", 10)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="is not readable"):
        image_file.read(path)
    np.save(tmp_path / "floats.npy", np.zeros((3, 1, 8, 8), np.float32))
    with pytest.raises(DataError, match=r"holds float32 \(3, 1, 8, 8\); wanted: uint8"):
        image_file.read(tmp_path / "floats.npy")
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="is not readable"):
        image_file.read(tmp_path / "pickled.npy")


def test_an_archive_that_unpacks_to_far_more_is_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", image=np.zeros((70, 1, 1024, 1024), np.uint8))
    with pytest.raises(DataError, match=r"bomb.npz unpacks to 73.4 MB; a decompression bomb; store it as .npy"):
        image_file.read(tmp_path / "bomb.npz")
    path = samples(tmp_path / "fine.npz", 10)
    monkeypatch.setattr(image_file, "free_host_memory", lambda: 100)
    with pytest.raises(ResourceError, match="100 B are free"):
        image_file.read(path)
