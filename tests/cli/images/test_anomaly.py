"""The CSV of anomaly scores."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from PIL import Image

from genlab.cli.images import anomaly
from genlab.cli.images.image_command import Target
from genlab.evaluation.anomaly import calibrate, scores
from tests.support.untrained import loaded_run


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_csv_of_anomalies_has_a_line_for_each_test_image_in_their_order(tmp_path: Path) -> None:
    loaded = loaded_run("vae")
    table = tmp_path / "scores.csv"
    anomaly.anomaly(loaded, anomaly.Keys(csv=str(table), quantile=0.9))(Target(tmp_path, "grid.png"))
    test = loaded.data().split("test")
    expected, classes = scores(loaded.model, test, "auto"), test.classes()
    limit = calibrate(scores(loaded.model, loaded.data().split("valid"), "auto"), 0.9).value
    found = rows_of(table)
    assert list(found[0]) == ["image", "class", "score", "threshold", "anomaly"]
    assert [row["image"] for row in found] == [str(i) for i in range(len(expected))]
    assert classes is not None
    assert [row["class"] for row in found] == [str(label) for label in classes.tolist()]
    assert torch.allclose(torch.tensor([float(row["score"]) for row in found]), expected.float().cpu(), rtol=1e-5)
    assert [float(row["threshold"]) for row in found] == [pytest.approx(limit)] * len(found)
    assert [row["anomaly"] for row in found] == [str(int(score > limit)) for score in expected.tolist()]


def test_the_csv_of_ones_own_images_names_the_files_in_their_order(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name, gray in (("b.png", 255), ("a.png", 0), ("c.png", 128)):
        Image.new("L", (8, 8), gray).save(own / name)
    keys = anomaly.Keys(image=str(own), csv=str(tmp_path / "own.csv"), n=1)
    anomaly.anomaly(loaded_run("vae"), keys)(Target(tmp_path, "grid.png"))
    found = rows_of(tmp_path / "own.csv")
    assert [Path(row["image"]).name for row in found] == ["a.png", "b.png", "c.png"]  # all, though one is shown
    assert list(found[0]) == ["image", "score", "threshold", "anomaly"]
    assert all((float(row["score"]) > float(row["threshold"])) == (row["anomaly"] == "1") for row in found)
