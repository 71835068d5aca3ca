"""genlab plot: which curves a figure has, where they lie, and what is refused."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genlab.cli import main
from genlab.reports.figure import Line, Panel, figure
from genlab.runs.selection import select
from genlab.workflows.compare.groups import grouped
from genlab.workflows.compare.learning_curves import Drawing, drawing, matching
from tests.support.commands import Refused, said
from tests.support.written_runs import write_curve, write_run

pytest.importorskip("matplotlib")


def sweep(**config: object) -> str:
    """Two models with three seeds each, an unfinished run among them."""
    for index, name in enumerate(("vae", "iwae")):
        for seed in range(3):
            status = "running" if index == seed == 1 else "done"
            settings = {"name": name, "model": {"name": name}, "trainer": {"batch_size": 16, "epochs": 2}, **config}
            run = write_run(f"outputs/s/{3 * index + seed}", seed, status=status, config=settings)
            write_curve(run, "elbo", [1.0 + seed, 2.0 + seed, 5.0 + 2 * seed][: 2 if index == seed == 1 else 3])
            write_curve(run, "elbo", [0.0, 0.5], split="train")
    return "outputs/s"


def drawn(name: str, metrics: list[str], across: str = "step", band: str = "minmax", smooth: float = 0.0) -> Drawing:
    groups, _ = grouped(select([name], "test"), unfinished=True)
    return drawing(groups, metrics, across, smooth, band)  # type: ignore[arg-type]


def test_seeds_are_a_mean_with_a_band_where_all_have_a_value() -> None:
    found = drawn(sweep(), ["valid/elbo"])
    [panel] = found.panels
    assert panel.title == "valid/elbo"
    assert found.legend == "mean, min–max over seeds"
    vae, iwae = panel.lines
    assert (vae.series, iwae.series) == ("vae (3 seeds)", "iwae (3 seeds)")
    assert vae.x.tolist() == [10, 20, 30]
    assert vae.y.tolist() == [2, 3, 7]
    assert vae.band is not None
    assert [each.tolist() for each in vae.band] == [[1, 2, 5], [3, 4, 9]]
    assert iwae.x.tolist() == [10, 20]  # the run that is still training ends there
    deviation = drawn("outputs/s", ["valid/elbo"], band="sd").panels[0].lines[0].band
    assert deviation is not None
    np.testing.assert_allclose(deviation[1], [3, 4, 9])


def test_both_splits_of_a_name_share_a_panel_and_the_horizontal_axis_has_its_unit() -> None:
    sweep()
    found = drawn("outputs/s", ["elbo"], "images")
    [panel] = found.panels
    assert (panel.title, panel.dashes) == ("elbo", "train (solid: valid)")
    assert [line.dashed for line in panel.lines] == [False, True, False, True]
    assert panel.lines[0].x.tolist() == [160, 320, 480]
    assert drawn("outputs/s", ["elbo"], "epoch").panels[0].lines[0].x.tolist() == pytest.approx([0.2, 0.4, 0.6])


def test_time_leaves_out_the_pause_before_a_resume_and_nan_breaks_a_curve() -> None:
    run = write_run("outputs/r", resumed=[{"time": 5000.0, "command": ""}])
    times = [(1010, 1.0), (1020, None), (5010, 3.0)]
    lines = [{"step": i, "time": t, "split": "train", "loss": v} for i, (t, v) in enumerate(times)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    [line] = drawn("outputs/r", ["loss"], "seconds", smooth=0.5).panels[0].lines
    assert line.x.tolist() == [10, 20, 30]
    assert line.y[[0, 2]].tolist() == pytest.approx([1, 7 / 3])  # (0.25 · 1 + 0.5 · 3) / 0.75
    assert np.isnan(line.y[1])


def test_metrics_are_found_by_name_pattern_and_first_words() -> None:
    known = ["valid/fid_mnist", "valid/fid_mnist_seed_sd", "train/loss", "valid/loss", "valid/kl"]
    assert matching(["fid"], known) == {"fid_mnist": ["valid"]}
    assert matching(["loss", "valid/k*"], known) == {"loss": ["valid", "train"], "kl": ["valid"]}


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_files_are_the_same_each_time_and_words_of_strangers_are_text(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("_a$x^$", "b$\\frac$\x1b[2J"):
        run = write_run(f"outputs/{name[0]}", config={"name": name, "model": {"name": name}})
        write_curve(run, "$\\bad$", [1.0, 1e300, 3.0], "valid")
    command = ["plot", "outputs", "metric=*bad*", "logy=true"]
    assert said(capsys, *command, f"out=1.{kind}").split() == [f"1.{kind}"]
    said(capsys, *command, f"out=2.{kind}")
    data = Path(f"1.{kind}").read_bytes()
    assert data == Path(f"2.{kind}").read_bytes()
    assert data[:4] in (b"\x89PNG", b"<?xm", b"%PDF")
    if kind == "svg":
        assert "_a$x^$" in data.decode()


def test_what_is_refused(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep(trainer={})
    assert "did you mean 'elbo'" in refused("plot", "outputs/s", "metric=elbos")
    assert "no batch size" in refused("plot", "outputs/s", "metric=elbo", "x=images")
    assert "monitor no common metric" in refused("plot", "outputs/s")
    assert "unknown key 'metrc'" in refused("plot", "outputs/s", "metrc=elbo")
    assert ".svg" in refused("plot", "outputs/s", "metric=elbo", "out=a.gif")
    assert "no run is named" in refused("plot", "metric=elbo")
    write_curve(write_run("outputs/n"), "elbo", [-3.0, 0.0])
    assert "no value above 0" in refused("plot", "outputs/n", "metric=elbo", "logy=true")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    assert "pip install 'genlab[plot]'" in refused("plot", "outputs/s", "metric=elbo")


def test_a_figure_has_a_file_of_its_own_name(capsys: pytest.CaptureFixture[str]) -> None:
    sweep()
    [line] = said(capsys, "plot", "outputs/s", "metric=elbo", "x=epoch").splitlines()
    assert re.fullmatch(r"outputs/figures/outputs-s-[0-9a-f]{6}\.png", line)
    assert main.main(["plot", "outputs/s", "metric=elbo", "x=epoch"]) == 0
    assert len(list(Path("outputs/figures").iterdir())) == 1


def test_a_legend_of_long_names_fits_into_the_figure() -> None:
    lines = [Line(f"model.beta_schedule.name=schedule_{i}", np.arange(3.0), np.arange(3.0) + i) for i in range(5)]
    drawn = figure([Panel("kl", lines)], "steps", "", False, (5.0, 3.2), "png")
    pixels = np.array(Image.open(io.BytesIO(drawn)).convert("L"))
    assert pixels[:, [0, -1]].min() == 255  # nothing is cut off at the sides
