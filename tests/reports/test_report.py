from __future__ import annotations

import base64
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from genlab.loggers.images import Images
from genlab.reports.charts import POINTS, Curve, line_chart, strip_chart, ticks
from genlab.reports.grid import image_grid
from genlab.reports.report import closing_table, next_commands, write_report

HOSTILE = '<img src=x onerror=alert(1)>"&run'
RECORD = {
    "status": "done", "step": 40, "steps": 40, "seconds": 65.0, "ended": 1.7e9, "command": f"genlab train {HOSTILE}",
    "seed": 3, "metrics": {"valid/elbo": -101.25, "images_per_second": 51234.0},
    "best": {"metric": "valid/loss", "value": 99.5, "step": 30},
    "model": {"name": f"vae{HOSTILE}", "parameters": {"encoder": 1200, "decoder": 34},
              "can": ["Samples"]},
    "data": {"name": "digits", "fingerprint": "f" * 64},
}  # fmt: skip
CONFIG = {"seed": 3, "trainer": {"ema_decay": None}, "evaluator": {"objective": {"name": "objective"}, "off": None},
          "model": {"name": HOSTILE}}  # fmt: skip


class Reader(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / HOSTILE
    folder.mkdir()
    with (folder / "metrics.jsonl").open("w") as file:
        for step in range(1, 41):
            print(json.dumps({"step": step, "time": 0, "split": "train", "elbo": -step, "bad": None}), file=file)
        print(json.dumps({"step": 40, "time": 0, "split": "valid", "elbo": -41.0}), file=file)
        print(json.dumps({"step": 20, "time": 0, "split": "valid", "real_probability": 0.625}), file=file)
        print('{"torn', file=file)
    images = Images(folder)
    for step in range(10, 41, 10):
        images.image(step, "samples", image_grid(torch.full((4, 1, 8, 8), step / 40)))
    return folder


def test_report_holds_figures_pictures_curves_and_configuration(run: Path) -> None:
    page = Reader()
    text = write_report(run, RECORD, CONFIG).read_text()
    page.feed(text)
    words = " ".join(page.words)
    for part in ("-101.25", "51,234", "99.5", "1m 05s", "1,234 parameters", "ffff", "genlab eval", "trainer.steps=80"):
        assert part in words
    pictures = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    assert len(pictures) == 4
    last = (run / "images" / "samples-00000040.png").read_bytes()
    assert base64.b64decode((pictures[0] or "").removeprefix("data:image/png;base64,")) == last
    lines = [attrs["class"] for tag, attrs in page.tags if tag in ("polyline", "circle")]
    assert lines == ["line train", "line valid"]  # elbo: a line, and one validation point; `bad` has no number
    assert "real_<wbr>probability" in text  # a long name ends its line between words
    assert "0.625 at step 20" in words  # one value makes no curve


def test_report_lists_the_evaluators_that_found_something_with_what_their_keys_came_to(run: Path) -> None:
    specs = {"fid": {"name": "fid", "extractor": "auto"}, "codebook": {"name": "codebook"}}
    config = {**CONFIG, "evaluator": specs}
    text = write_report(run, {**RECORD, "protocols": {"fid": {"extractor": "mnist"}}}, config).read_text()
    made = text.partition("How the figures were made")[2].partition("<section")[0]
    assert "<code>fid</code>" in made
    assert "mnist" in made
    assert "auto" not in made
    assert "codebook" not in made
    older = write_report(run, RECORD, config).read_text().partition("How the figures were made")[2]
    assert "<code>codebook</code>" in older


def test_report_needs_nothing_else_and_runs_nothing(run: Path) -> None:
    page = Reader()
    text = write_report(run, RECORD, CONFIG).read_text()
    page.feed(text)
    assert HOSTILE not in text
    assert HOSTILE in " ".join(page.words)  # shown as it is
    assert not [tag for tag, attrs in page.tags if tag in ("script", "link", "iframe") or "onerror" in attrs]
    assert all((attrs["src"] or "").startswith("data:") for tag, attrs in page.tags if tag == "img")
    assert not re.search(r"(src|href)=\"?https?:", text)


def test_a_pipe_a_link_and_a_huge_file_are_no_images(run: Path) -> None:
    os.mkfifo(run / "images" / "pipe-00000001.png")
    (run / "images" / "link-00000001.png").symlink_to("samples-00000010.png")
    with (run / "images" / "huge-00000001.png").open("wb") as file:
        file.truncate(2**40)
    names = set(re.findall(r'alt="(\w+)-\d', write_report(run, RECORD, CONFIG).read_text()))
    assert names == {"samples"}


def test_report_of_a_run_that_logged_nothing(tmp_path: Path) -> None:
    text = write_report(tmp_path, {**RECORD, "metrics": {}, "best": None}, CONFIG).read_text()
    assert "Curves" not in text
    assert "Pictures" not in text


def test_chart_is_xml_and_its_line_lies_where_the_values_are() -> None:
    svg = line_chart({"train": [(0, 0.0), (50, 5.0), (100, 10.0)], "valid": [(0, 10.0), (100, 0.0)]})
    root = ElementTree.fromstring(svg)
    places = [
        [tuple(map(float, pair.split(","))) for pair in (line.get("points") or "").split()]
        for line in root.iter("polyline")
    ]
    (a, b, c), (d, e) = places
    assert a[0] < b[0] < c[0]
    assert b == pytest.approx(((a[0] + c[0]) / 2, (a[1] + c[1]) / 2), abs=0.1)
    assert a[1] > c[1]  # larger values are higher up
    assert (d[1], e[1]) == (c[1], a[1])


def test_chart_cuts_off_a_wild_start_and_thins_long_lines() -> None:
    values = [(step, 1e9 if step == 0 else 1.0 + step / 5000) for step in range(5000)]
    root = ElementTree.fromstring(line_chart({"train": values}))
    (line,) = root.iter("polyline")
    heights = [float(pair.split(",")[1]) for pair in (line.get("points") or "").split()]
    assert len(heights) <= POINTS
    assert heights[0] < -1000  # above the plot's edge
    assert max(heights[20:]) - min(heights[20:]) > 100  # the rest fills the plot


def test_chart_of_odd_series() -> None:
    assert line_chart({}) == ""
    assert line_chart({"train": [(1, float("nan")), (2, float("inf"))]}) == ""
    assert line_chart({"train": [(5, 3.0)]}) == ""  # a point is no curve
    for points in ([(1, 0.0), (2, 0.0)], [(1, 1e-9), (2, 2e-9)], [(1, -3e38), (2, 3e38)],
                   [(1, 0.0), (2, 1e-323)]):  # fmt: skip
        ElementTree.fromstring(line_chart({"train": points}))
        ElementTree.fromstring(strip_chart([("A", "g0", [y for _, y in points])]))
    assert line_chart({"train": [(1, -1.7e308), (2, 1.7e308)]}) == ""  # their difference is infinite


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 100, 5) == [0, 20, 40, 60, 80, 100]
    assert ticks(-0.3, 0.31, 5) == pytest.approx([-0.2, 0.0, 0.2])


@pytest.mark.parametrize("forced", [False, True])
def test_closing_table_says_what_where_and_what_next(
    run: Path, forced: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if forced:
        monkeypatch.setenv("FORCE_COLOR", "1")
    write_report(run, RECORD, CONFIG)
    closing_table(run, RECORD)
    said = capsys.readouterr().out
    assert "\x1b" not in said
    rows = {line.split("  ")[0]: " ".join(line.split("  ")[1:]).strip() for line in said.splitlines() if line}
    assert rows["done"] == "40 of 40 steps in 1m 05s"
    assert rows["valid/elbo"] == "-101.25"
    assert rows["best valid/loss"] == "99.5 at step 30"
    assert rows["samples"] == str(run / "images" / "samples-00000040.png")
    assert rows["report"] == str(run / "report.html")


def test_closing_table_says_where_the_time_went(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spent = {"training": 90.0, "checkpoints": 0.1, "images": 2.0, "validation": 7.9, "writing": 50.0}
    closing_table(run, {**RECORD, "time": spent})
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "time 90% training, 8% validation, 2% images" in lines


def test_next_commands_are_only_what_the_model_can_do(run: Path) -> None:
    commands = " ".join(command for command, _ in next_commands(run, RECORD))
    assert "genlab sample '" in commands  # quoted for the shell
    assert "genlab reconstruct" not in commands
    assert "tensorboard" not in commands


def test_next_commands_show_no_images_of_points(run: Path) -> None:
    record = {
        **RECORD,
        "model": {**RECORD["model"], "can": ["Samples", "Reconstructs"]},
        "data": {**RECORD["data"], "shape": [2, 1, 1]},
    }
    commands = " ".join(command for command, _ in next_commands(run, record))
    assert "genlab reconstruct" not in commands
    assert "genlab sample" not in commands
    assert "genlab eval" in commands


@pytest.mark.parametrize(
    ("can", "data", "told"),
    [
        (["Samples"], "digits", ["sample", "eval"]),
        (["Samples", "HasGANLoss"], "ring", ["eval evaluator=modes"]),
        (["Samples", "HasGANLoss"], "dirac", ["eval"]),
        (["Translates"], "facades", ["translate", "eval"]),
        (["Encodes", "Samples", "Reconstructs"], "digits", ["sample", "reconstruct", "eval"]),
    ],
)
def test_next_commands_go_by_the_model_not_by_the_pictures(
    tmp_path: Path, can: list[str], data: str, told: list[str]
) -> None:
    (tmp_path / "events.out.tfevents.1").touch()
    shape = [1, 1, 1] if data == "dirac" else [2, 1, 1] if data == "ring" else [1, 8, 8]
    record = {"model": {"can": can}, "data": {"name": data, "shape": shape}}
    (board, use), *others = next_commands(tmp_path, record)
    assert board.startswith("tensorboard")
    assert ("latent codes" in use) == ("Encodes" in can)
    said = [command.replace(f" {tmp_path}", "").removeprefix("genlab ").removesuffix(" n=64") for command, _ in others]
    assert said == told


def test_a_curve_of_many_points_keeps_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genlab.reports.charts.KEPT", 8)
    curve = Curve()
    for x in range(7):
        curve.add(x, 10 * x)
    assert curve.points() == [(x, 10 * x) for x in range(7)]
    for x in range(7, 1001):
        curve.add(x, 10 * x)
    points = curve.points()
    assert [x for x, _ in points] == [*(63.5 + 128 * i for i in range(7)), 948]  # means of 128, and of the rest
    assert all(y == 10 * x for x, y in points)
