from __future__ import annotations

import io
import re
import sys

import pytest

from genlab.loggers.console import Console
from genlab.utils.formatting import duration, number

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def train(console: Console, steps: range) -> None:
    console.start(0, 100, "vae on digits ✓")
    for step in steps:
        console.scalars(
            step, "train", {"discriminator/loss": 1.25, "generator/loss": 2.0, "images_per_second": 41234.5}
        )
    console.scalars(50, "valid", {"loss": 3.0})
    console.close()


@pytest.mark.parametrize("forced", [False, True])
def test_plain_lines_have_no_control_codes(
    forced: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if forced:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TTY_COMPATIBLE", "1")
    train(Console(every=1e-6), range(10, 101, 10))
    said = capsys.readouterr()
    assert said.err == ""
    assert not CONTROL.search(said.out)
    assert said.out.isascii()
    lines = said.out.splitlines()
    assert len(lines) == 1 + 10 + 1
    assert re.fullmatch(
        r"step 10/100  train  discriminator/loss 1\.25  generator/loss 2  41,234 images/s  \d+s left", lines[1]
    )
    assert lines[-1] == "step 50/100  valid  loss 3"


def test_plain_lines_are_rate_limited_save_the_first_the_last_and_valid(capsys: pytest.CaptureFixture[str]) -> None:
    train(Console(every=3600.0), range(1, 101))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["1/100", "100/100", "50/100"]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_one_view_with_a_column_for_each_split(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    train(Console(), range(10, 101, 10))
    shown = screen.getvalue()
    assert "\x1b[" in shown
    assert shown.endswith("\x1b[?25h")  # the cursor is back
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    for part in ("50/100", "41,234 images/s", "left", "discriminator/loss", "train", "valid"):
        assert part in last


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "dumb")
    train(Console(every=1e-6), range(10, 101, 10))
    assert not CONTROL.search(screen.getvalue())


def test_time_left_counts_from_where_this_process_began(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("genlab.loggers.console.time.monotonic", lambda: now[0])
    console = Console()
    console.start(60, 100, "")
    assert console.seconds_left() is None
    now[0] += 20
    console.scalars(80, "train", {})
    assert console.seconds_left() == pytest.approx(20)  # 20 steps took 20 s, 20 are left


def test_numbers_as_people_read_them() -> None:
    shown = {0.001: "0.001", -105.4321: "-105.43", 51234.0: "51,234", 1e-7: "1e-07", 0.0: "0", 2.0: "2"}
    assert {value: number(value) for value in shown} == shown
    spans = {0.2: "0s", 59.6: "1m 00s", 185: "3m 05s", 8040: "2h 14m", 273600: "3d 4h"}
    assert {span: duration(span) for span in spans} == spans
