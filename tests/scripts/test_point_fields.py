"""scripts/point_fields.py: plots of four runs in one picture, each in its column and row."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "point_fields.py"


def test_finished_runs_become_columns_and_moments_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    for column, model in enumerate(("gan", "vae", "flow_matching", "meanflow")):
        images = Path("fields") / f"{model}-ring" / "images"
        images.mkdir(parents=True)
        (images.parent / "run.json").write_text(json.dumps({"status": "done"}))
        for percent in range(5, 101, 5):  # the color says which model and moment it is
            plot = PIL.Image.new("RGB", (480, 480), (50 * column, 2 * percent, 0))
            plot.save(images / f"points-{30 * percent:08d}.png")
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--out", "fields"])
    names = runpy.run_path(str(SCRIPT))
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    pixels = np.asarray(PIL.Image.open("fields/ring.png").convert("RGB")).astype(int)
    cell = names["CELL"] + names["GAP"]
    for row, percent in enumerate((5, 20, 50, 100)):
        for column in range(4):
            middle = pixels[names["TOP"] + row * cell + 120, names["LEFT"] + column * cell + 120]
            assert abs(middle - [50 * column, 2 * percent, 0]).max() <= 3


def test_a_plot_stands_beside_its_own_moment_or_not_at_all() -> None:
    plots_of = runpy.run_path(str(SCRIPT))["plots_of"]
    images = Path("run") / "images"
    images.mkdir(parents=True)
    with pytest.raises(SystemExit, match="no plots in run/images"):
        plots_of(Path("run"))
    for percent in range(10, 101, 10):
        (images / f"points-{percent:08d}.png").touch()
    assert [found and found.name for found in plots_of(Path("run"))] == [
        None, "points-00000020.png", "points-00000050.png", "points-00000100.png",
    ]  # fmt: skip
