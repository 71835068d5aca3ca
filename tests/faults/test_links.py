"""Single attacks on a run folder by links and removals; tests/harness/classes/links.py plants links everywhere."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import genlab as genlab_package
from genlab.cli import main
from genlab.engine.step import Stepper
from genlab.runs import run_folder

VAE = ["model=vae", "model.network.hidden=[8]", "model.latent_dim=2", "trainer.batch_size=16", "dataset=digits",
       "evaluator=[objective,samples,embedding]", "trainer.steps=2", "trainer.log_every=1", "checkpoint.every=1",
       "logger=[jsonl,tensorboard,images]"]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps."""
    run = tmp_path_factory.mktemp("vae") / "run"
    assert main.main(["train", *VAE, f"hydra.run.dir={run}"]) == 0
    return run


def test_text_planted_in_a_run_reaches_no_file_of_the_user(trained: Path, tmp_path: Path) -> None:
    run, victim = tmp_path / "run", tmp_path / ".bashrc"
    shutil.copytree(trained, run)
    victim.write_text("# mine\n")
    (run / "projector/a").mkdir()
    (run / "projector/a/entry.pbtxt").write_text("touch canary\n")
    (run / "projector_config.pbtxt").unlink()
    (run / "projector_config.pbtxt").symlink_to("../.bashrc")
    assert main.main(["resume", str(run), "trainer.steps=3"]) == 0
    assert victim.read_text() == "# mine\n"
    assert "canary" not in (run / "projector_config.pbtxt").read_text()


def test_a_refused_resume_leaves_the_record_as_it_was(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    shutil.rmtree(run / "images")
    (run / "images").symlink_to("../elsewhere")
    before = run_folder.read_record(run)
    assert main.main(["resume", str(run), "trainer.steps=3"]) == 4
    after = run_folder.read_record(run)
    keys = ("status", "code", "error", "ended", "resumed", "command")
    assert [after.get(key) for key in keys] == [before.get(key) for key in keys]
    assert after["status"] == "done"


def test_a_resumed_run_keeps_the_command_that_made_it(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    made = run_folder.read_record(run)["command"]
    assert main.main(["resume", str(run), "trainer.steps=3"]) == 0
    record = run_folder.read_record(run)
    assert record["command"] == made
    assert "resume" in record["resumed"][-1]["command"]


@pytest.mark.parametrize("kind", ["hard link", "pipe"])
def test_what_looks_like_a_lock_is_not_overwritten(trained: Path, tmp_path: Path, kind: str) -> None:
    run, victim = tmp_path / "run", tmp_path / "victim"
    shutil.copytree(trained, run)
    victim.write_text("mine")
    (run / "lock").unlink()
    os.link(victim, run / "lock") if kind == "hard link" else os.mkfifo(run / "lock")
    assert main.main(["resume", str(run), "trainer.steps=3"]) == 4
    assert victim.read_text() == "mine"


# ---------------------------------------------------------------------- a run folder that somebody takes away

REMOVALS: dict[str, Callable[[Path], object]] = {
    "the folder removed": shutil.rmtree,
    "the folder moved": lambda run: run.rename(run.with_name("moved")),
    "the folder replaced": lambda run: (run.rename(run.with_name("moved")), run.mkdir()),
    "the lock removed": lambda run: (run / "lock").unlink(),
    "the metrics removed": lambda run: (run / "metrics.jsonl").unlink(),
    "the metrics moved": lambda run: (run / "metrics.jsonl").rename(run / "mine.jsonl"),
}


@pytest.mark.parametrize("removal", REMOVALS)
def test_a_run_whose_folder_is_taken_away_does_not_end_well(
    removal: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    step = Stepper.make

    def take_away(self: Stepper, number: int, *arguments: object) -> object:
        if number == 3:
            REMOVALS[removal](run)
        return step(self, number, *arguments)

    monkeypatch.setattr(Stepper, "make", take_away)
    assert main.main(["resume", str(run), "trainer.steps=6"]) == 5
    said = capfd.readouterr().err
    assert "genlab: error: " in said
    assert "was removed or" in said
    assert not (run / "report.html").exists() or "folder" not in removal


def test_what_a_killed_process_left_is_swept_when_the_run_resumes(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    left = [".tmp-run.json.77", "images/.tmp-samples-00000001.png.77", "projector/codes/.tmp-tensors.tsv.77"]
    for name in left:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("half")
    assert main.main(["resume", str(run), "trainer.steps=3"]) == 0
    assert not [name for name in left if (run / name).exists()]


def test_nothing_else_writes_files() -> None:
    """Outside the data cache and the modules below, no code opens a file to write, or deletes one, by its path.

    `av.open` writes a film into memory."""
    allowed = {"utils/own_folder.py", "utils/files.py", "utils/file_lock.py", "utils/unique_folder.py",
               "checkpoint/manager.py", "sweep/jobs.py",
               "reports/image_folder.py"}  # into a folder that it has just made  # fmt: skip
    writes = re.compile(r"""write_text\(|write_bytes\(|\.unlink\(|rmtree\(path|(?<!av\.)open\([^)]*["'][wa]b?["']""")
    root = Path(genlab_package.__file__).parent
    files = {str(path.relative_to(root)): path.read_text() for path in root.rglob("*.py")}
    assert [name for name, text in files.items() if writes.search(text) and not name.startswith("data/")
            and name not in allowed] == []  # fmt: skip
