"""genlab compare: its tables, its files, its page; run folders of strangers included."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from genlab.cli import main
from genlab.workflows.compare import page
from tests.support.commands import Refused, said
from tests.support.written_runs import write_curve, write_image, write_result, write_run

EVIL = "<script>alert(1)</script>\x1b[2J=cmd"


@pytest.fixture
def losses() -> str:
    """A sweep over two models and three seeds, with curves and images."""
    for index, (name, level) in enumerate((("vae", 10.0), ("iwae", 12.0))):
        for seed in range(3):
            config = {"name": name, "model": {"name": name}}
            run = write_run(f"outputs/sweeps/l/{3 * index + seed}", seed, config=config)
            write_result(run, {"fid": level + 0.1 * seed**index})
            write_curve(run, "kl", [1.0, 2.0, level])
            for step in (50, 100):
                write_image(run, "samples", step, 100 * index)
    return "outputs/sweeps/l"


def test_tables_and_files(losses: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "compare", losses, "csv=a.csv", "json=a.json", "html=page.html")
    assert re.search(r"A +vae +3 +0, 1, 2", out)
    assert re.search(r"fid: test/fid +B − A .* different: B is higher", out)
    assert "Holm" in out
    assert out.splitlines()[-3:] == ["a.csv", "a.json", "page.html"]
    with open("a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["group"], row["seed"], float(row["value"])) for row in rows][:2] == [
        ("A", "0", 10.1),
        ("A", "1", 10.1),
    ]
    assert json.loads(Path("a.json").read_text())["differences"]["name"] == {"A": "vae", "B": "iwae"}


def test_the_page_shows_verdicts_images_at_equal_steps_and_curves(losses: str) -> None:
    assert main.main(["compare", losses]) == 0
    (path,) = Path("outputs/comparisons").iterdir()
    html = path.read_text()
    assert "different: B is higher" in html
    assert html.count("data:image/png") == 4  # two steps, two configurations
    assert html.index("A vae, seed 0, step 100") < html.index("B iwae, seed 0, step 100") < html.index("step 50")
    assert html.count("<polyline") == 8  # three seeds and their mean, twice
    assert main.main(["compare", losses]) == 0
    assert list(Path("outputs/comparisons").iterdir()) == [path]  # the same command replaces its page


def test_a_single_configuration_shows_its_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        write_image(write_run(f"outputs/{seed}", seed, {"valid/elbo": 1.0 + seed}), "samples", 100, seed)
    out = said(capsys, "compare", "outputs", "html=page.html")
    assert "1.5 ± 0.71 (2)" in out
    assert "Verdicts" not in out
    assert "seed 1, step 100" in Path("page.html").read_text()


def test_a_strangers_run_neither_controls_the_terminal_nor_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        config = {"name": f"{name}{EVIL[:25]}", "model": {"name": EVIL[:25], "x": f"{name}<i>"}}
        run = write_run(f"outputs/{name}", 0, {f"valid/{EVIL}": 1.0, "=1+1/x": 2.0}, config=config)
        write_result(run, {EVIL: 2.0}, file="x-00000100.json", evaluator=EVIL, options={EVIL: EVIL})
        write_curve(run, EVIL, [1.0, 2.0])
    out = said(capsys, "compare", "outputs", "csv=a.csv", "html=page.html")
    assert "\x1b" not in out
    html = Path("page.html").read_text()
    assert "&lt;script&gt;" in html
    assert not re.search("<(script|i)>", html)
    assert "\x1b" not in Path("a.csv").read_text()
    assert "'=1+1/x" in Path("a.csv").read_text()  # no formula
    (run / "images").symlink_to("/")
    assert main.main(["compare", "outputs", "csv=b.csv"]) == 4
    assert not Path("b.csv").exists()


def test_names_that_are_no_text_stand_in_the_page_with_a_question_mark() -> None:
    for name in ("a", "b"):
        config = {"name": name, "model": {"name": name}}
        run = write_run(f"outputs/{name}", 0, {"valid/\ud800x": 1.0}, config=config)
        write_curve(run, "\ud800x", [1.0, 2.0])
    assert main.main(["compare", "outputs", "html=page.html", "csv=a.csv"]) == 0
    assert "valid/?x" in Path("page.html").read_text("utf-8")


def test_a_page_says_which_configurations_it_leaves_out_and_holds_so_many_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(page, "MOST_IMAGES", 1)
    for number in range(9):
        run = write_run(f"outputs/{number}", config={"name": str(number)})
        write_curve(run, "kl", [1.0, 2.0])
        for name in ("codes", "samples"):
            write_image(run, name, 100, number)
    assert main.main(["compare", "outputs", "html=page.html"]) == 0
    html = Path("page.html").read_text()
    assert "the first 8 of 9 configurations" in html
    assert "the first 6 of 9 configurations" in html
    assert html.count("<polyline") == 8  # no color stands for two
    assert html.count("data:image/png") == 6
    monkeypatch.setattr(page, "MOST_BYTES", 100)
    assert main.main(["compare", "outputs", "html=small.html"]) == 0
    assert "data:image/png" not in Path("small.html").read_text()


def test_what_is_refused(refused: Refused) -> None:
    write_run("outputs/a")
    assert "no run is named" in refused("compare", "csv=a.csv")
    assert "did you mean 'html'" in refused("compare", "outputs", "htm=a.html")
    assert "another suffix" in refused("compare", "outputs", "csv=a.txt")
    assert "alpha" in refused("compare", "outputs", "alpha=1")
    assert "is not a run" in refused("compare", "outputs", "nowhere")
    for number in range(27):
        write_run(f"outputs/many/{number}", config={"name": str(number)})
    assert "28 configurations are too many" in refused("compare", "outputs")
