"""genlab reproduce: from claims to run folders, a table, the ledger and the page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from genlab.cli import main
from genlab.runs import provenance, run_folder
from genlab.sweep import runner
from genlab.sweep.jobs import fork
from genlab.workflows.reproduce import runs, tables
from genlab.workflows.reproduce.claims import load, run_path
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
    assert 'was made with split "test", the claim is of "valid"' in capsys.readouterr().err


def planted(name: str, *overrides: str) -> None:
    """A finished run of other overrides, in the folder that a claim names."""
    words = [word.strip("' ") for word in SMALL.split(", ")]
    assert main.main(["train", *words, *overrides, f"hydra.run.dir=outputs/results/{name}"]) == 0


def test_a_finished_folder_of_another_run_is_no_claims_run(
    commands: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """One of more steps in a claim's place, and one of other seeds: the rows say so, the rest of the table is there."""
    planted("one", "trainer.steps=3")
    code = main.main(["reproduce", "part", *OWN, "--record"])
    out, err = capsys.readouterr()
    errors = [line for line in err.splitlines() if line.startswith("genlab: error: ")]
    assert code == 2
    [line] = [line for line in errors if "run one was made with configuration " in line]
    assert "which differs in trainer.steps" in line
    assert re.search(r"[0-9a-f]{16}, the claim's is [0-9a-f]{16}; .*--forget", line)
    assert re.search(r"^first +- +- +7.5 \(A\) +FAILED: run one was made", out, re.MULTILINE)
    assert re.search(r"^second +[\d.]+ ± [\d.]+ \(2 runs\)", out, re.MULTILINE)
    assert commands == ["train -m"]
    assert sorted(Ledger.read(Path("ledger.json")).runs) == ["two/0", "two/1"]


def test_a_run_made_with_other_evaluators_is_the_claims_run(
    commands: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The defaults of evaluators change between versions; the weights do not depend on them."""
    planted("one", "+evaluator.samples={name: samples}", "logger=quiet")
    assert main.main(["reproduce", "one", *OWN]) == 0
    assert commands == ["eval outputs/results/one"]
    config = Path("outputs/results/one/config.yaml")
    config.write_text(config.read_text().replace("seed: 0", "seed: 1"))  # not the configuration of its record
    assert main.main(["reproduce", "one", *OWN]) == 2
    assert "run one was made with configuration " in capsys.readouterr().err


def test_a_seed_of_a_sweep_is_its_own(commands: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for folder, seed in (("two/0", 0), ("two/1", 0)):
        planted(folder, f"seed={seed}")
    assert main.main(["reproduce", "two", *OWN]) == 2
    assert "run two/1 was made with configuration " in capsys.readouterr().err
    assert commands == []


def test_a_run_that_comes_after_another_run_fails_with_it(
    commands: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    claims = CLAIMS.replace("minutes: 1, seeds: 2", "minutes: 1, seeds: 2, after: one")
    Path("claims/part.yaml").write_text(claims)
    said(capsys, "reproduce", "part", *OWN)
    Path("claims/part.yaml").write_text(claims.replace("trainer.steps=2", "trainer.steps=1", 1))
    assert main.main(["reproduce", "two", *OWN]) == 2
    assert "run one was made with configuration " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("evaluator=objective, evaluator.objective.batch_size=7", 'options {}, the claim is of {"batch_size": 7}'),
        ("evaluator=objective, seed=5", "seed 0, the claim is of 5"),
        ("evaluator=objective, repeats=2", "repeats null, the claim is of 2"),
        ("evaluator=samples, name=objective", 'evaluator "objective", the claim is of "samples"'),
    ],
)
def test_a_result_of_other_options_is_refused(
    commands: list[str], capsys: pytest.CaptureFixture[str], options: str, problem: str
) -> None:
    said(capsys, "reproduce", "one", *OWN)
    Path("claims/part.yaml").write_text(CLAIMS.replace("[[evaluator=objective]]", f"[[{options}]]"))
    stored = Path("outputs/results/one/eval")
    [result] = stored.glob("objective-test-*.json")
    if "samples" in options:  # reads no data, so its result is named otherwise
        result.rename(stored / result.name.replace("-test", ""))
    assert main.main(["reproduce", "one", *OWN]) == 2
    assert f"the result was made with {problem}" in capsys.readouterr().err


def test_a_result_of_an_earlier_checkpoint_is_not_that_of_the_run(
    commands: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "reproduce", "one", *OWN)
    [result] = Path("outputs/results/one/eval").glob("objective-test-*2.json")
    early = json.loads(result.read_text())
    early["protocol"]["step"] = 1
    result.with_name(result.name.replace("2.json", "1.json")).write_text(json.dumps(early))
    result.unlink()
    commands.clear()
    said(capsys, "reproduce", "one", *OWN)
    assert [words.split()[0] for words in commands] == ["eval"]


def test_results_without_a_split_and_of_lists_are_found_again(
    commands: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("claims/part.yaml").write_text(
        CLAIMS.replace("[[evaluator=objective]]", "[['evaluator=[objective,samples]']]")
    )
    said(capsys, "reproduce", "one", *OWN)
    assert [words.split()[0] for words in commands] == ["train", "eval", "eval"]
    commands.clear()
    said(capsys, "reproduce", "one", *OWN)
    assert commands == []


def test_files_that_are_links_or_torn_are_not_read_as_figures(
    commands: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "reproduce", "one", *OWN)
    run = Path("outputs/results/one")
    with (run / "metrics.jsonl").open("a") as log:
        log.write('{"step": 9, "time": 1, "split": "valid", "lo')  # by a kill
    said(capsys, "reproduce", "one", *OWN, "--record", "--ledger", "other.json")
    assert list(Ledger.read(Path("other.json")).runs["one"].curves)
    for place, code in ((run / "metrics.jsonl", 4), (next((run / "eval").glob("*.json")), 4)):
        kept = place.rename("kept")
        place.symlink_to(kept.absolute())
        assert main.main(["reproduce", "one", *OWN, "--record"]) == code
        assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("genlab: error")]
        place.unlink()
        kept.rename(place)


def test_a_metric_that_was_not_finite_is_no_figure(commands: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "reproduce", "one", *OWN)
    [file] = Path("outputs/results/one/eval").glob("*.json")
    found = json.loads(file.read_text())
    file.write_text(json.dumps({**found, "metrics": {**found["metrics"], "loss": None}}))
    assert main.main(["reproduce", "one", *OWN]) == 2
    assert "metric 'loss' is not finite" in capsys.readouterr().err


def test_a_curve_shows_as_many_points_as_it_says(commands: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "reproduce", "one", *OWN)
    log = Path("outputs/results/one/metrics.jsonl")
    lines = ({"step": step, "time": step, "split": "valid", "loss": step} for step in range(1, 16))
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    for points, steps in ((2, [7, 15]), (8, [1, 3, 5, 7, 9, 11, 13, 15]), (20, list(range(1, 16)))):
        curve = f"points: {points}"
        Path("claims/part.yaml").write_text(CLAIMS.replace("points: 2", curve))
        said(capsys, "reproduce", "one", *OWN, "--record")
        text = Ledger.read(Path("ledger.json")).runs["one"].curves["loss"]
        assert [int(step) for step in re.findall(r"\((\d+)\)", text)] == steps


def test_the_commands_of_the_page_are_those_that_are_carried_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Pasted into a shell in order, with another program in genlab's place."""
    fake = tmp_path / "bin" / "genlab"
    fake.parent.mkdir()
    fake.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    fake.chmod(0o755)
    for part in load().values():
        block = "\n".join(line for name in part.in_order(part.runs) for line in tables._commands(name, part))
        done = subprocess.run(
            ["bash", "-ec", block], env={"PATH": f"{fake.parent}:/usr/bin:/bin"}, capture_output=True, check=True
        )
        carried_out: list[list[str]] = []
        for name, run in part.in_order(part.runs).items():
            carried_out.append(run.train_words(name, tables.SHOWN))
            carried_out += [["eval", str(run_path(tables.SHOWN, each)), *wanted.options]
                            for wanted in run.evaluations() for each in run.names(name)]  # fmt: skip
        assert list(map(json.loads, done.stdout.splitlines())) == carried_out


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


def test_a_run_from_before_a_key_of_the_trainer_is_the_claims_run(
    commands: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    planted("one")
    run = Path("outputs/results/one")
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace("  patience: null\n", ""))
    record = json.loads((run / "run.json").read_text())
    old = provenance.config_hash(run_folder.read_config(run))
    assert old != record["config_hash"]
    (run / "run.json").write_text(json.dumps(record | {"config_hash": old}))
    assert main.main(["reproduce", "one", *OWN]) == 0
    assert commands == ["eval outputs/results/one"]
