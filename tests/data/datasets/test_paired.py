"""Pairs: what is cut where, that both halves move alike, colors beside their grays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.config.compose import compose
from genlab.data.pairs import jittered
from genlab.data.store import table
from genlab.data.store.image import SideBySide, decode
from genlab.distributed.runtime import Runtime
from genlab.errors import ConfigError, DataError
from genlab.registry import DATASETS, discover
from genlab.workflows.build import build_data
from tests.support import synthetic
from tests.support.data import BOTH, opened

discover()


def side_by_side(folder: Path, count: int, side: int = 8, width: int | None = None) -> list[np.ndarray]:
    """PNG files of random pixels, twice as wide as high, and what they hold (H, W, 3)."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    pixels = [rng.integers(0, 256, (side, width or 2 * side, 3), dtype=np.uint8) for _ in range(count)]
    for i, each in enumerate(pixels):
        Image.fromarray(each).save(folder / f"{i:02d}.png")
    return pixels


def uint8(pictures: torch.Tensor) -> np.ndarray:
    return (pictures * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("input", ["left", "right"])
def test_halves_are_cut_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, input: str, resident: bool
) -> None:
    if not resident:
        monkeypatch.setattr(table, "RESIDENT_FRACTION_HOST", 0)
    pixels = side_by_side(tmp_path / "in" / "train", 6)
    side_by_side(tmp_path / "in" / "val", 2)
    data = opened("paired", root=str(tmp_path / "in"), size=8, input=input, test=1)
    assert data.sizes() == {"train": 5, "valid": 2, "test": 1}
    assert data.shape == (3, 8, 8)
    assert data.resident is resident
    image, a, b = data.split("train").take(5, ("image", *BOTH))
    first, second = (a, b) if input == "left" else (b, a)
    held = [each.tobytes() for each in pixels]
    for left, right in zip(uint8(first), uint8(second), strict=True):
        assert np.concatenate([left, right], axis=1).tobytes() in held
    assert torch.equal(image, a)


@pytest.mark.usefixtures("fresh")
def test_two_folders_are_matched_by_name_whatever_the_suffix(tmp_path: Path) -> None:
    for kind, suffix, shade in (("labels", "png", 1), ("photos", "bmp", 101)):
        for part, count in (("train", 4), ("test", 2)):
            folder = tmp_path / kind / part
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (8, 8), (shade + i,) * 3).save(folder / f"{i}.{suffix}")
    keys = {"root": str(tmp_path), "folders": ["labels", "photos"], "size": 8}
    data = opened("paired", **keys, valid=1)
    a, b = data.split("train").take(9, BOTH)
    assert len(a) == 3
    assert torch.allclose(b - a, torch.full_like(a, 100 / 255))
    (tmp_path / "photos" / "train" / "2.bmp").unlink()
    with pytest.raises(DataError, match=r"labels/train/2\.png has no partner"):
        opened("paired", **keys, valid=1)
    with pytest.raises(DataError, match=r"sketches is missing; key dataset\.folders"):
        DATASETS.build({"name": "paired", **keys, "folders": ["sketches", "photos"]}, seed=0).check()


@pytest.mark.usefixtures("fresh")
def test_what_cannot_be_halved_is_named(tmp_path: Path) -> None:
    side_by_side(tmp_path / "odd", 3, width=15)
    with pytest.raises(DataError, match="15x8 cannot be cut into two equal halves") as caught:
        opened("paired", root=str(tmp_path / "odd"), size=8)
    assert "\n" not in str(caught.value)
    bad = tmp_path / "odd" / "00.png"
    bad.write_bytes(b"junk")
    with pytest.raises(DataError) as caught:  # no advice of a key that pairs have not, no address of bytes
        opened("paired", root=str(tmp_path / "odd"), size=8)
    said = "UnidentifiedImageError: cannot identify image file"
    assert str(caught.value) == f"image 0, {bad}, cannot be read; {said}; restore it from its source"
    with pytest.raises(ConfigError, match="needs a folder"):
        opened("paired")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        opened("paired", root=str(tmp_path / "none"))


def test_no_filter_sees_the_other_half() -> None:
    picture = Image.new("RGB", (64, 32), (255, 0, 0))
    picture.paste((0, 0, 255), (32, 0, 64, 32))
    row = decode(synthetic.encoded(picture, "PNG"), SideBySide(8))
    assert row.shape == (6, 8, 8)
    assert (row[:3] == np.array([255, 0, 0])[:, None, None]).all()
    assert (row[3:] == np.array([0, 0, 255])[:, None, None]).all()


@pytest.mark.usefixtures("fresh")
def test_both_of_a_pair_are_mirrored_and_jittered_alike(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    for i, half in enumerate(np.random.default_rng(1).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)):
        Image.fromarray(np.concatenate([half, half], axis=1)).save(folder / f"{i}.png")
    keys = {"root": str(tmp_path), "size": 16, "valid": 0, "test": 0}
    plain = opened("paired", **keys)
    originals = plain.split("train").take(6, ("a",))[0]
    flipped = opened("paired", **keys, flip=True).batches(BOTH, 6)
    mirrored = 0
    for step in range(4):
        a, b = flipped.at(step)
        assert torch.equal(a, b)
        known = {tuple(each.flatten().tolist()) for each in originals}
        for each in a:
            as_it_is = tuple(each.flatten().tolist()) in known
            assert as_it_is or tuple(each.flip(-1).flatten().tolist()) in known
            mirrored += not as_it_is
    assert 4 < mirrored < 20  # of 24, by a fair coin
    a, b = opened("paired", **keys, jitter=True).batches(BOTH, 6).at(0)
    assert torch.equal(a, b)
    assert a.shape == (6, 3, 16, 16)
    assert not any(tuple(each.flatten().tolist()) in known for each in a)
    a, b = opened("paired", **keys, flip=True, jitter=True).split("train").take(6, BOTH)
    assert torch.equal(a, originals)  # only training batches are changed


def test_jitter_is_the_enlarged_picture_cut_at_a_corner() -> None:
    """286 of 256 pixels, so that cuts at the corners are whole pixels of torch's own enlargement."""
    image = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(image, size=286, mode="bilinear")
    cut = jittered(image, torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    assert torch.allclose(cut[0], large[0, :, :256, :256], atol=2e-3)
    assert torch.allclose(cut[1], large[1, :, 30:, 30:], atol=2e-3)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["dataset=unpaired", "dataset.base={name: celeba}", "dataset.attribute=Attribut_0"],
            "no attribute 'Attribut_0'",
        ),
        (["model=pix2pix", "dataset=celeba"], "use dataset=facades, paired, colorize or low_high"),
        (
            ["model=pix2pix", "dataset=unpaired", "dataset.base={name: celeba}", "dataset.attribute=Attribute_0"],
            "dataset unpaired have none; use model=cyclegan",
        ),
        (["model=cyclegan", "dataset=celeba"], r"dataset.base=celeba 'dataset.attribute=Attribute_0'"),
        (["model=cvae", "dataset=celeba"], "needs one class"),
        (["model=cgan", "dataset=celeba"], "needs one class"),
        (["model=dcgan", "dataset=celeba", "dataset.size=13"], "use dataset.size="),
    ],
)
def test_what_cannot_be_learned_is_said_before_a_picture_is_decoded(
    tmp_path: Path, fresh: Path, overrides: list[str], said: str
) -> None:
    synthetic.celeba(tmp_path)
    discover()
    settings = compose([*overrides, f"dataset.root={tmp_path}"]).config
    with pytest.raises(ConfigError, match=said):
        build_data(settings, Runtime(torch.device("cpu")))
    assert not list(fresh.rglob("images.npy"))


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("resident", [True, False])
def test_colorize_gives_luma_beside_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resident: bool
) -> None:
    if not resident:
        monkeypatch.setattr(table, "RESIDENT_FRACTION_HOST", 0)
    synthetic.celeba(tmp_path)
    keys = {"root": str(tmp_path), "size": 16}
    data, whole = opened("colorize", **keys, flip=True), opened("celeba", **keys, flip=True)
    a, image, b, label = data.split("train").take(3, ("a", "image", "b", "label"))
    picture, attributes = whole.split("train").take(3, ("image", "label"))
    assert torch.equal(b, picture)
    assert torch.equal(a, image)
    assert torch.equal(label, attributes)
    for gray, color in zip(uint8(a), uint8(picture), strict=True):
        wanted = np.asarray(Image.fromarray(color).convert("L")).astype(int)
        assert np.abs(gray.astype(int) - wanted[..., None]).max() <= 1
    mirrored, plain = data.batches(BOTH, 4).at(1), whole.batches(("image",), 4).at(1)
    assert torch.equal(mirrored[1], plain[0])
    assert (
        mirrored[0] - mirrored[1].mul(torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, True)
    ).abs().max() < 1e-5


@pytest.mark.usefixtures("fresh")
def test_low_high_gives_means_of_squares_beside_the_picture(tmp_path: Path) -> None:
    synthetic.celeba(tmp_path)
    keys = {"root": str(tmp_path), "size": 16}
    data, whole = opened("low_high", **keys, factor=4), opened("celeba", **keys)
    a, image, b = data.split("train").take(3, ("a", "image", "b"))
    (picture,) = whole.split("train").take(3, ("image",))
    assert torch.equal(b, picture)
    assert torch.equal(a, image)
    assert a.shape == b.shape
    means = picture.unflatten(2, (4, 4)).unflatten(4, (4, 4)).mean((3, 5))
    for low, small in zip(uint8(a), uint8(means), strict=True):  # Pillow's bicubic has the same kernel up to rounding
        wanted = np.asarray(Image.fromarray(small).resize((16, 16), Image.Resampling.BICUBIC)).astype(int)
        assert np.abs(low.astype(int) - wanted)[4:-4, 4:-4].mean() < 6
    assert data.fingerprint != opened("low_high", **keys, factor=2).fingerprint


def test_low_high_needs_squares() -> None:
    with pytest.raises(ConfigError, match=r"dataset\.size=9"):
        opened("low_high", base={"name": "digits"}, size=None, factor=3)


def test_gray_images_cannot_be_colored() -> None:
    with pytest.raises(ConfigError, match="are already gray"):
        opened("colorize", base={"name": "digits"}, size=None)


def test_the_real_facades(real_data: Path) -> None:
    data = opened("facades", root=str(real_data))
    train, test = (len(list((real_data / "facades" / name).glob("*.jpg"))) for name in ("train", "val"))
    sizes = data.sizes()
    assert (sizes["train"] + sizes["valid"], sizes["test"]) == (train, test)
    a, b = next(data.split("test").batches(BOTH, 20))
    file = sorted((real_data / "facades" / "val").iterdir())[0]
    whole = np.asarray(Image.open(file).convert("RGB"))
    assert (uint8(b[:1])[0] == whole[:, :256]).all()
    assert (uint8(a[:1])[0] == whole[:, 256:]).all()
    # label maps are of a few colors, most of all blue
    assert (a.mean((0, 2, 3))[2] > a.mean((0, 2, 3))[0] + 0.2).item()
