"""The runner's statistics, its tables and its gate, on made-up rows."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import plots, rounds, run


def row(peer: str, speed: float, **changed: Any) -> dict[str, Any]:
    return {
        "peer": peer, "workload": "w", "params": 10, "batch": 4, "steps": 5, "threads": 1, "device": "cpu",
        "precision": "fp32", "images_per_cpu_s": speed, "images_per_s": speed, "first_step_s": 1.0, "peak_rss": 1000000,
        **changed,
    }  # fmt: skip


def played(*speeds: tuple[float, float]) -> list[rounds.Round]:
    return [{"genlab fp32": row("genlab", a), "floor fp32": row("floor", b)} for a, b in speeds]


ROUNDS = played((90, 100), (40, 50), (190, 200))  # the machine was slow in the second


def test_medians_and_spread() -> None:
    assert rounds.median(ROUNDS, "genlab fp32", "images_per_s") == 90
    assert rounds.spread(ROUNDS, "floor fp32") == 1.5


def test_ratios_are_formed_inside_a_round() -> None:
    assert rounds.ratio(ROUNDS, "genlab fp32", "floor fp32") == 0.9  # of 0.9, 0.8, 0.95
    slow_once = played((100, 100), (10, 10), (100, 100), (10, 10), (100, 100))
    assert rounds.to_floor(slow_once, "fp32") == 1


@pytest.mark.parametrize(
    ("where", "ratio", "label"),
    [
        ({}, 0.5, "images per CPU second (decides)"),
        ({"threads": 2}, 2.0, "images/s (decides)"),
        ({"device": "NVIDIA X"}, 2.0, "images/s (decides)"),
    ],
)
def test_cpu_seconds_decide_only_on_one_cpu_thread(where: dict[str, Any], ratio: float, label: str) -> None:
    found = [
        {
            "genlab fp32": row("genlab", 50, images_per_s=20, **where),
            "floor fp32": row("floor", 100, images_per_s=10, **where),
        }
    ]
    assert rounds.to_floor(found, "fp32") == ratio
    assert rounds.table(found).splitlines()[2].split(" | ")[1] == label
    assert rounds.table(found).splitlines()[5].endswith(f"| {ratio:.2f} |")


@pytest.mark.parametrize("key", ["params", "batch", "steps", "threads", "device", "workload"])
def test_unequal_work_is_refused(key: str) -> None:
    bad = [*ROUNDS, {"genlab fp32": row("genlab", 1), "floor fp32": row("floor", 1, **{key: 7})}]
    with pytest.raises(ValueError, match=f"not the same work: {key} is 7"):
        rounds.summary(bad)


def test_a_row_in_another_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="precision"):
        rounds.summary([{"genlab fp32": row("genlab", 1, precision="bf16")}])


def test_the_table() -> None:
    lines = rounds.table(ROUNDS).splitlines()
    assert lines[0] == "**w**: 10 parameters, batch 4, 5 steps, 1 thread, cpu, 3 rounds."
    assert lines[2].endswith("| genlab fp32 ÷ this |")
    assert lines[4] == "| genlab fp32 | 90.0 | 167% | 90.0 | 1.00 | 1 |  |"
    assert lines[5] == "| floor fp32 | 100.0 | 150% | 100.0 | 1.00 | 1 | 0.90 |"


def test_the_gate(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.passes(0.85, {"w": ROUNDS}, ["fp32"])
    assert not run.passes(0.95, {"w": ROUNDS}, ["fp32"])
    assert "w fp32: 0.900 of the floor, gate 0.95" in capsys.readouterr().err


def namespace(out: Path | None) -> Namespace:
    return Namespace(device="cpu", threads=1, precision=["fp32"], out=out, docs=False)


def test_a_later_run_of_the_day_keeps_the_other_workloads(tmp_path: Path) -> None:
    run.write(namespace(tmp_path), {"w": ROUNDS, "v": ROUNDS}, "synthetic")
    run.write(namespace(tmp_path), {"w": played((70, 100))}, "real")
    [file], [table] = tmp_path.glob("*.json"), tmp_path.glob("*.md")
    kept = json.loads(file.read_text())
    assert kept["rounds"] == {"v": ROUNDS, "w": played((70, 100))}
    assert kept["facts"]["v"]["data"] == "synthetic"
    assert table.read_text().count("images per CPU second (decides)") == 2
    assert "| 0.70 |" in table.read_text()
    assert "| 0.90 |" in table.read_text()


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([{"floor fp32": row("floor", 1)}], "v: nothing to compare without genlab fp32"),
        ([{"genlab fp32": row("genlab", 1)}], "v: nothing to compare without floor fp32"),
        (
            [{"genlab fp32": row("genlab", 1), "floor fp32": row("floor", 1, params=9)}],
            "not the same work: params is 9",
        ),
    ],
)
def test_rounds_that_cannot_be_compared_are_on_disk(tmp_path: Path, bad: list[rounds.Round], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        run.write(namespace(tmp_path), {"v": bad}, "real")
    [file] = tmp_path.glob("*.json")
    assert json.loads(file.read_text())["rounds"] == {"v": bad}
    run.write(namespace(tmp_path), {"w": ROUNDS}, "real")  # and do not stand in the way of others


def test_few_rounds_are_printed_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    for arguments, folder in (["--rounds", "4"], None), ([], run.RESULTS), (["--rounds", "1", "--out", "x"], Path("x")):
        monkeypatch.setattr("sys.argv", ["run", *arguments])
        assert run.options().out == folder
    run.write(namespace(None), {"w": ROUNDS}, "real")
    assert "| genlab fp32 | 90.0 |" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_layouts_are_those_that_genlab_chooses() -> None:
    assert run.layout("vae_mlp_mnist", "cpu", "bf16") == "nchw"
    assert run.layout("dcgan64", "cpu", "fp32") == run.layout("dcgan64", "cuda", "bf16") == "nhwc"
    assert run.layout("dcgan64", "cuda", "fp32") == "nchw"


def test_results_and_the_page(tmp_path: Path) -> None:
    run.write(namespace(tmp_path), {"w": ROUNDS}, "synthetic")
    [file], [table] = tmp_path.glob("*.json"), tmp_path.glob("*.md")
    assert file.stem == table.stem
    kept = json.loads(file.read_text())
    assert kept["summary"]["w"]["floor fp32"]["times"] == {"genlab fp32": 0.9}
    assert kept["rounds"]["w"] == ROUNDS
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- table -->\nold\n<!-- /table -->\nb\n")
    run.put(page, "table", "new")
    run.put(page, "table", "newer\n")
    assert page.read_text() == "a\n<!-- table -->\n\nnewer\n\n<!-- /table -->\nb\n"
    with pytest.raises(ValueError, match="other"):
        run.put(page, "other", "x")


def test_entries_are_given_the_same_span(tmp_path: Path) -> None:
    given = Namespace(steps=7, threads=1, device="cpu", precision=["fp32", "bf16"], override=["channels_last=true"],
                      peers_python="peers/python", examples=tmp_path)  # fmt: skip
    commands = run.entries("vae_mlp_mnist", given, tmp_path, tmp_path / "x.npy")
    assert list(commands) == ["genlab fp32", "floor fp32", "genlab bf16", "floor bf16",
                              "pythae fp32", "lightning fp32", "examples fp32"]  # fmt: skip
    assert "steps=7" in commands["genlab bf16"]
    assert commands["genlab bf16"][-1] == "channels_last=true"
    assert all(
        command[command.index("--steps") + 1] == "7" for name, command in commands.items() if "genlab" not in name
    )
    assert "pythae fp32" not in run.entries("dcgan64", given, tmp_path, tmp_path / "x.npy")


def test_what_an_entry_leaves_behind_is_removed() -> None:
    import os
    import sys

    code = "import json, tempfile; print(json.dumps({'peer': tempfile.mkdtemp()}))"
    said = run.row("x fp32", [sys.executable, "-c", code], dict(os.environ))
    assert said is not None
    assert not Path(said["peer"]).exists()


def test_a_failing_entry_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    import os
    import sys

    code = "import sys; print('no json'); sys.exit('it is not installed')"
    assert run.row("pythae fp32", [sys.executable, "-c", code], dict(os.environ)) is None
    assert "pythae fp32 failed (exit code 1): it is not installed" in capsys.readouterr().err


def test_plots() -> None:
    import xml.etree.ElementTree as tree

    drawn = plots.log_log({"a & b": [(1, 2), (10, 20), (100, 20)], "c": [(1, 1)]}, "x <y>")
    root = tree.fromstring(drawn)
    assert len(root.findall("{*}circle")) == 4
    with pytest.raises(ValueError, match="positive"):
        plots.log_log({"a": [(0, 1)]}, "x")
