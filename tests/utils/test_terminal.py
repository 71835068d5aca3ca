"""What genlab prints cannot control a terminal, and standard streams that are closed or full harm no run."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import genlab
from genlab.cli import main
from genlab.loggers.console import Console
from genlab.reports.report import closing_table
from genlab.utils import tables, terminal

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "x\x1b]0;owned\x07\x1b[2J\r\nforged\x9b31m\u202egnp"
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
RICH = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")  # styles and the movements of a live view


class Screen(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def look(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """A terminal in place of standard output and error."""
    shown = Screen()
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    return shown


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose record, made by somebody else, holds escape sequences in every text."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    overrides = ["trainer.steps=2", "trainer.device=cpu", "model.network.hidden=[8]", "logger=jsonl"]
    genlab.train([*overrides, f"hydra.run.dir={folder}"])
    record = json.loads((folder / "run.json").read_text())
    record["metrics"] = {HOSTILE: 1.0}
    record["best"] = {"metric": HOSTILE, "value": 1.0, "step": 1}
    record["diagnoses"] = [{"name": HOSTILE, "step": 1, "sentence": HOSTILE}]
    record["plugins"] = [HOSTILE]
    record["time"] = {HOSTILE: 1.0}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def harmless(shown: str) -> bool:
    return "owned" in shown and not OBEYED.search(RICH.sub("", shown)) and "\nforged" not in shown


def test_lines_notices_tables_and_views_hold_no_escape_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = look(monkeypatch)
    terminal.echo(HOSTILE)
    terminal.say(HOSTILE)
    tables.show(["name"], [[HOSTILE]], HOSTILE)
    view = Console()
    view.start(0, 9, HOSTILE.replace("\n", ""))
    view.scalars(1, "train", {HOSTILE.replace("\n", ""): 1.0})
    view.close()
    assert harmless(screen.getvalue())
    assert screen.getvalue().count("owned") >= 6


@pytest.mark.parametrize("command", ["resume", "runs", "train"])
def test_commands_on_a_hostile_run_print_no_escape_sequences(
    command: str, hostile_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = look(monkeypatch)
    monkeypatch.chdir(hostile_run.parent)
    words = {"resume": [str(hostile_run)], "runs": ["."], "train": [f"hydra.run.dir={hostile_run}", "trainer.steps=2",
             "--device", "cpu", "model.network.hidden=[8]", "logger=jsonl"]}  # fmt: skip
    assert main.main([command, *words[command]]) == 0
    assert harmless(screen.getvalue())


def test_the_name_of_the_last_run_and_its_closing_table_hold_no_escape_sequences(
    hostile_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = look(monkeypatch)
    record = json.loads((hostile_run / "run.json").read_text())
    Path(HOSTILE).mkdir()
    closing_table(Path(HOSTILE), record)
    assert harmless(screen.getvalue())


def test_a_traceback_holds_no_escape_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = look(monkeypatch)
    assert main.main(["info", f"model={HOSTILE}", "--debug"]) == 2
    assert harmless(screen.getvalue())
    assert "Traceback" in screen.getvalue()


@pytest.mark.parametrize(
    ("streams", "code", "said"),
    [
        (">&-", 0, ""),
        (">&- 2>&- <&-", 0, ""),
        ("2>/dev/full", 0, ""),
        (">/dev/full", 5, "standard output cannot be written; No space left on device;"),
        ("1</dev/null", 5, "standard output cannot be written; Bad file descriptor;"),
    ],
)
def test_commands_with_closed_and_full_streams(streams: str, code: int, said: str) -> None:
    ended = shell(f"list models {streams}")
    assert ended.returncode == code, ended.stderr
    assert said in ended.stderr
    assert ended.stderr.count("\n") == bool(said)


def test_a_bad_command_without_streams_keeps_its_code() -> None:
    assert shell("train model=vea >&- 2>&- <&-").returncode == 2
    assert shell("train model=vea 2>/dev/full").returncode == 2


@pytest.mark.parametrize("streams", [">&- 2>&- <&-", ">/dev/full 2>/dev/full"])
def test_training_without_streams_is_the_same_run(streams: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = shell(f"train trainer.steps=2 model.network.hidden=[8] logger=default hydra.run.dir={run} {streams}")
    assert ended.returncode == 0
    assert json.loads((run / "run.json").read_text())["status"] == "done"
    assert all(json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())


def shell(command: str) -> subprocess.CompletedProcess[str]:
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        ["bash", "-c", f"{sys.executable} -m genlab {command}"], capture_output=True, text=True, timeout=300,
        env={**buffered, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
