"""Evaluators and commands that read some of a split see all classes of files that are sorted by class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from genlab.cli import main
from genlab.core.evaluator import Evaluator
from genlab.data.loader import Data
from genlab.data.store.table import Gathered, Table
from genlab.engine.evaluate import evaluate
from genlab.registry import EVALUATORS, MODELS, keyword_parameters
from tests.support.commands import SMALL_VAE, said
from tests.support.models import shrunk, spec_of

SIDE, CLASSES, EACH = 8, 4, 50
SHADES = (40, 100, 160, 220)  # of the images of each class
# the first 130 images would lack the last class
SOME = {"n": 12, "images": 130, "perplexity": 2, "k": 2, "subset_size": 4, "extractor": "pixels"}
POINTS = ("modes", "points", "dirac")  # read no images


@pytest.fixture
def data() -> Data:
    """In each split 50 images of class 0, then 50 of class 1, and so on."""
    label = torch.arange(3 * CLASSES).repeat_interleave(EACH) % CLASSES
    noise = torch.randint(9, (len(label), 1, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    images = (noise + torch.tensor(SHADES)[label, None, None, None]).to(torch.uint8)
    rows = dict(zip(("valid", "train", "test"), torch.arange(len(label)).split(CLASSES * EACH), strict=True))
    factors = torch.stack([label, label % 3], 1).to(torch.uint8)
    columns = {"image": images, "label": label, "factors": factors}
    table = Table("shades", columns, torch.device("cpu"), resident=True)
    table.factor_names = ("class", "third")
    return Data(table, rows, [str(k) for k in range(CLASSES)], "f" * 64, 0, False)


@pytest.mark.parametrize(("model", "least"), [("conv_vae", 9), ("dcgan", 5)])
def test_an_evaluator_sees_all_classes(model: str, least: int, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    read = Table.read

    def recorded(table: Table, indices: Tensor, columns: Sequence[str]) -> Gathered:
        seen.extend(indices.tolist() if "image" in columns else [])
        return read(table, indices, columns)

    monkeypatch.setattr(Table, "read", recorded)
    built = MODELS.build(shrunk(spec_of(model)), "model", image_shape=data.shape, num_classes=CLASSES)
    measured = []
    for name in EVALUATORS.names():
        evaluator = reading_few(name)
        if evaluator and evaluator.split and name not in POINTS and evaluator.applies(built):
            seen.clear()
            evaluate(evaluator, built, data, seed=0)
            assert {row // EACH for row in seen if row < CLASSES * EACH} == set(range(CLASSES)), name
            measured.append(name)
    assert len(measured) >= least, measured


def reading_few(name: str) -> Evaluator | None:
    """The evaluator, for few images; None if it always reads all."""
    keys = keyword_parameters(EVALUATORS.get(name))
    chosen = {key: value for key, value in SOME.items() if key in keys}
    built: Evaluator = EVALUATORS.build({"name": name, **chosen}, "evaluator")
    return built if {"n", "images"} & set(chosen) else None


def test_commands_show_all_classes_of_a_sorted_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split, n in (("train", 4), ("test", 20)):
        for shade in SHADES:
            (tmp_path / "files" / split / f"{shade:03}").mkdir(parents=True)
            for i in range(n):
                Image.new("L", (SIDE, SIDE), shade).save(tmp_path / "files" / split / f"{shade:03}" / f"{i}.png")
    folder = ["dataset=folder", f"dataset.root={tmp_path / 'files'}", f"dataset.size={SIDE}", "dataset.channels=1"]
    said(capsys, "train", "model=vae", *SMALL_VAE, *folder, "dataset.valid=0", "trainer.steps=1",
         "trainer.batch_size=8", "evaluator=none", "logger=jsonl", "hydra.run.dir=outputs/sorted")  # fmt: skip
    for command, argument in (("reconstruct", "columns=8"), ("inpaint", "box=0"), ("denoise", "sigma=0")):
        path = said(capsys, command, "sorted", "n=8", argument).splitlines()[-1]
        top = np.asarray(Image.open(path).convert("L"))[: SIDE - 1]
        assert set(SHADES) <= set(np.unique(top).tolist()), command
    assert main.main(["eval", "sorted"]) == 0
    assert '"split_seed": 0' in Path("outputs/sorted/eval/objective-test-00000001.json").read_text()
