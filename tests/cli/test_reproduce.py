"""genlab reproduce: from claims to run folders, a table, the ledger and the page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from genlab.cli import main
from genlab.runs import provenance
from genlab.sweep import runner
from genlab.sweep.jobs import fork
from genlab.workflows.reproduce import runs
from genlab.workflows.reproduce.ledger import Ledger
from tests.support.commands import Refused, said

SMALL = "model.latent_dim=4, 'model.network.hidden=[8]', trainer.steps=2, trainer.batch_size=16, evaluator=objective"
CLAIMS = f"""
title: A part
runs:
  one: {{overrides: [{SMALL}], minutes: 1, evals: [[evaluator=objective]]}}
  two: {{overrides: [{SMALL}], minutes: 1, seeds: 2}}
rows:
  - {{what: first, runs: [one], evaluator: objective-test, metric: loss, protocol: {{split: test}}, published: 7.5 (A)}}
  - {{what: second, runs: [two], evaluator: training, metric: valid/loss, digits: 1}}
curves: [{{runs: [one], metric: loss, points: 2}}]
notes: Falls short.
"""
OWN = ["--claims", "claims", "--ledger", "ledger.json"]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first two words of each command that is run, in this process and from a clean checkout."""
    found: list[str] = []

    def run_genlab(*words: str) -> int:
        found.append(" ".join(words[:2]))
        return main.main(words)

    Path("claims").mkdir()
    Path("claims/part.yaml").write_text(CLAIMS)
    monkeypatch.setattr(runs, "run_genlab", run_genlab)
    monkeypatch.setattr(provenance, "git_state", lambda folder: {"commit": "a" * 40, "dirty": False})
    monkeypatch.setattr(runner, "_starter", lambda: fork)  # a new interpreter would not know the line above
    return found


def test_claims_are_carried_out_once_recorded_and_compared(
    commands: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = said(capsys, "reproduce", "part", *OWN, "--record", "--page", "page.md")
    assert [words.split()[0] for words in commands] == ["train", "eval", "train"]
    [first] = re.findall(r"^first +([\d.]+) +- +7.5 \(A\)$", out, re.MULTILINE)
    assert re.search(r"^second +[\d.]+ ± [\d.]+ \(2 runs\) +- +-$", out, re.MULTILINE)
    entries = Ledger.read(Path("ledger.json")).runs
    assert {name: entry.seed for name, entry in entries.items()} == {"one": 0, "two/0": 0, "two/1": 1}
    assert {entry.commit for entry in entries.values()} == {"a" * 12}
    assert entries["one"].machine == provenance.machine()
    page = Path("page.md").read_text()
    assert f"| first | {first} | 7.5 (A) |" in page
    assert f"| `one` | {entries['one'].config} | {entries['one'].day} | aaaaaaaaaaaa | 0 |" in page
    assert re.search(r"\| `one` \| [\d.]+ \(2\) \|", page)  # the curve
    assert "Falls short." in page
    commands.clear()
    assert "within 5%" in said(capsys, "reproduce", "part", *OWN)
    assert commands == []


def test_a_figure_that_is_off_and_a_run_that_fails_are_told_by_the_exit_code(
    commands: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "reproduce", "one", *OWN, "--record")
    ledger = json.loads(Path("ledger.json").read_text())
    ledger["runs"]["one"]["figures"]["objective-test"]["metrics"]["loss"] *= 1.1
    Path("ledger.json").write_text(json.dumps(ledger))
    Path("claims/part.yaml").write_text(CLAIMS.replace("minutes: 1, seeds: 2", "minutes: 1", 1).replace(
        f"two: {{overrides: [{SMALL}]", "two: {overrides: [dataset=mnist]"))  # fmt: skip
    assert main.main(["reproduce", "part", *OWN]) == 8
    out, err = capsys.readouterr()
    assert "OFF by more than 5%" in out
    assert "1 commands failed, 1 figures are off" in err.splitlines()[-1]


def test_results_of_changed_code_are_shown_but_not_recorded(
    commands: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "git_state", lambda folder: {"commit": "a" * 40, "dirty": True})
    assert main.main(["reproduce", "one", *OWN, "--record"]) == 0
    out, err = capsys.readouterr()
    assert re.search(r"^first +[\d.]+ ", out, re.MULTILINE)
    assert "one is not recorded: the code had uncommitted changes" in err
    assert Ledger.read(Path("ledger.json")).runs == {}


def test_a_result_of_another_protocol_is_refused(commands: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "reproduce", "one", *OWN)
    Path("claims/part.yaml").write_text(CLAIMS.replace("{split: test}", "{split: valid}"))
    assert main.main(["reproduce", "one", *OWN]) == 2
    assert "was made with split test, the claim is of valid" in capsys.readouterr().err


def test_without_a_name_claims_and_costs_are_listed(commands: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert re.search(r"^part +A part +2 +2 +2$", said(capsys, "reproduce", *OWN), re.MULTILINE)
    assert commands == []


@pytest.mark.usefixtures("commands")
def test_bad_input(refused: Refused) -> None:
    assert "unknown claim 'par'" in refused("reproduce", "par", *OWN)
    assert "give one or the other" in refused("reproduce", "part", "--all-cheap", *OWN)
    assert "no claims in" in refused("reproduce", "--claims", "nowhere")
    assert "is a folder" in refused("reproduce", *OWN, "--page", ".")
    assert "cannot write it" in refused("reproduce", *OWN, "--page", "/proc/nowhere/page.md")
    assert "--jobs 0 runs nothing" in refused("reproduce", *OWN, "--jobs", "0")
    assert "the ledger has no run 'one'" in refused("reproduce", *OWN, "--forget", "one")
    Path("ledger.json").write_text('{"runs": {"one": {"seed": 0}}}')
    assert "the ledger cannot be used" in refused("reproduce", *OWN)
    Path("claims/part.yaml").write_text("title: 3")
    assert "the claims cannot be used" in refused("reproduce", *OWN)
