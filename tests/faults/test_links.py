"""Links planted in a run folder lead nowhere: whatever a command writes or deletes, nothing outside the run changes.

Each test finds out which files the commands write, and plants a link in the place of each file and folder.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import genlab as genlab_package
from genlab.cli import main
from genlab.engine.step import Stepper
from tests.support.synthetic import photo

SMALL = ["trainer.steps=2", "trainer.log_every=1", "checkpoint.every=1", "logger=[jsonl,tensorboard,images]"]
VAE = ["model=vae", "model.network.hidden=[8]", "model.latent_dim=2", "trainer.batch_size=16", "dataset=digits",
       "evaluator=[objective,samples,embedding]"]  # fmt: skip
PIX2PIX = ["model=pix2pix", "model.generator.base_channels=2", "model.discriminator.base_channels=2",
           "model.discriminator.layers=1", "dataset=colorize", "dataset.base={name: folder, valid: 2, test: 2}",
           "dataset.size=16", "dataset.root=PHOTOS", "evaluator=translations"]  # fmt: skip
RUNS: dict[str, tuple[list[str], list[list[str]]]] = {
    "vae": (VAE, [
        ["resume", "RUN", "trainer.steps=3"], ["sample", "RUN", "n=4"], ["reconstruct", "RUN", "n=4"],
        ["interpolate", "RUN"], ["traverse", "RUN"], ["encode", "RUN", "split=test"], ["anomaly", "RUN"],
        ["eval", "RUN", "evaluator=[objective,samples]"]]),
    "pix2pix": (PIX2PIX, [["translate", "RUN", "input=PHOTOS/a/1.png"], ["translate", "RUN"]]),
}  # fmt: skip
# what stands outside: names that a command would write, delete or sweep if it came here
OUTSIDE = ["metrics.jsonl", "samples-00000009.png", "objective-test.json", "tensors.tsv", ".tmp-run.json.1",
           "codes/tensors.tsv", "step-00000009/manifest.json", ".trash-step-00000001/state.json"]  # fmt: skip


def genlab(run: Path, words: list[str]) -> int:
    """The exit code of a command on `run`, beside which the user's photos are."""
    photos = str(run.parent.parent / "photos")
    return main.main([word.replace("RUN", str(run)).replace("PHOTOS", photos) for word in words])


def states(folder: Path) -> dict[str, tuple[int, ...]]:
    """Every file and folder below `folder`, with what changes when it is written."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        times = () if path.is_dir() else (status.st_mtime_ns, status.st_size)
        found[str(path.relative_to(folder))] = (status.st_ino, status.st_mode, *times)
    return found


@pytest.fixture(scope="module", params=RUNS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of two steps, and its name in RUNS."""
    run = tmp_path_factory.mktemp(request.param) / "run"
    (run.parent.parent / "photos/a").mkdir(parents=True, exist_ok=True)
    for index in range(12):
        photo(index, 16, 16).save(run.parent.parent / f"photos/a/{index}.png")
    assert genlab(run, ["train", *SMALL, *RUNS[request.param][0], "hydra.run.dir=RUN"]) == 0
    return run, request.param


def written(run: Path, commands: list[list[str]]) -> Iterator[tuple[list[str], str]]:
    """Each command with each file that it writes and each folder that it uses; event files have names of their own."""
    for command in commands:
        before = states(run)
        assert genlab(run, command) == 0, command
        changed = {path for path, state in states(run).items() if before.get(path) != state}
        folders = {str(parent) for path in changed for parent in Path(path).parents} - {"."}
        for path in sorted(changed | folders):
            if not path.startswith("events.out"):
                yield command, path


LINKS: dict[str, Callable[[Path], Path]] = {
    "file": lambda outside: outside / OUTSIDE[0],
    "folder": lambda outside: outside,
    "nothing": lambda outside: outside / "nothing",
}


def test_a_link_in_the_place_of_anything_that_is_written(
    trained: tuple[Path, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    base, name = trained
    shutil.copytree(base, tmp_path / "first")
    outside, run = tmp_path / "outside", tmp_path / "run"
    for file in OUTSIDE:
        (outside / file).parent.mkdir(parents=True, exist_ok=True)
        (outside / file).write_text("mine")
    before, tried = states(outside), 0
    for command, path in list(written(tmp_path / "first", RUNS[name][1])):
        for kind, target in LINKS.items():
            shutil.rmtree(run, ignore_errors=True)
            shutil.copytree(base, run)
            place = run / path
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
            place.symlink_to(os.path.relpath(target(outside), place.parent))
            capfd.readouterr()
            code = genlab(run, command)
            said = capfd.readouterr().err
            where = f"{command} with {path} -> {kind}: {code} {said}"
            assert states(outside) == before, where
            assert code in (0, 4) or (code == 2 and path == "run.json"), where  # 2: it is not a run
            assert "Traceback" not in said, where
            tried += 1
    assert tried >= len(LINKS) * len(RUNS[name][1])


only_vae = pytest.mark.parametrize("trained", ["vae"], indirect=True)


@only_vae
def test_text_planted_in_a_run_reaches_no_file_of_the_user(trained: tuple[Path, str], tmp_path: Path) -> None:
    run, victim = tmp_path / "run", tmp_path / ".bashrc"
    shutil.copytree(trained[0], run)
    victim.write_text("# mine\n")
    (run / "projector/a").mkdir()
    (run / "projector/a/entry.pbtxt").write_text("touch canary\n")
    (run / "projector_config.pbtxt").unlink()
    (run / "projector_config.pbtxt").symlink_to("../.bashrc")
    assert main.main(["resume", str(run), "trainer.steps=3"]) == 0
    assert victim.read_text() == "# mine\n"
    assert "canary" not in (run / "projector_config.pbtxt").read_text()


@only_vae
@pytest.mark.parametrize("kind", ["hard link", "pipe"])
def test_what_looks_like_a_lock_is_not_overwritten(trained: tuple[Path, str], tmp_path: Path, kind: str) -> None:
    run, victim = tmp_path / "run", tmp_path / "victim"
    shutil.copytree(trained[0], run)
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


@only_vae
@pytest.mark.parametrize("removal", REMOVALS)
def test_a_run_whose_folder_is_taken_away_does_not_end_well(
    removal: str, trained: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
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


@only_vae
def test_what_a_killed_process_left_is_swept_when_the_run_resumes(trained: tuple[Path, str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    left = [".tmp-run.json.77", "images/.tmp-samples-00000001.png.77", "projector/codes/.tmp-tensors.tsv.77"]
    for name in left:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("half")
    assert main.main(["resume", str(run), "trainer.steps=3"]) == 0
    assert not [name for name in left if (run / name).exists()]


def test_nothing_else_writes_files() -> None:
    """Outside the data cache and the modules below, no code opens a file to write, or deletes one, by its path."""
    allowed = {"utils/own_folder.py", "utils/files.py", "utils/file_lock.py", "utils/unique_folder.py",
               "checkpoint/manager.py", "sweep/jobs.py"}  # fmt: skip
    writes = re.compile(r"""write_text\(|write_bytes\(|\.unlink\(|rmtree\(path|open\([^)]*["'][wa]b?["']""")
    root = Path(genlab_package.__file__).parent
    files = {str(path.relative_to(root)): path.read_text() for path in root.rglob("*.py")}
    assert [name for name, text in files.items() if writes.search(text) and not name.startswith("data/")
            and name not in allowed] == []  # fmt: skip
