"""What a sweep is made of: its grid, what cannot be one, and the commands of its jobs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from genlab.cli import main
from genlab.config import compose
from genlab.sweep import jobs
from genlab.sweep import runner as sweeping
from genlab.sweep.plan import plan


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["seed=1,2,3"], [["seed=1"], ["seed=2"], ["seed=3"]]),
        (["model=vae,dcgan", "seed=1,2"], [["model=vae", "seed=1"], ["model=vae", "seed=2"], ["model=dcgan", "seed=1"],
        ["model=dcgan", "seed=2"]]),
        (["seed=range(0,3)", "trainer.steps=5"], [["seed=0"], ["seed=1"], ["seed=2"]]),
        (["seed=choice(4,7)"], [["seed=4"], ["seed=7"]]),
        (["model=glob([conv_v*,dcg*])"], [["model=conv_vae"], ["model=dcgan"], ["model=dcgan_vae"]]),
        (["optimizer.betas=[0.1,0.9],[0.2,0.9]"], [["optimizer.betas=[0.1,0.9]"], ["optimizer.betas=[0.2,0.9]"]]),
        (["dataset.root='a,b',c"], [["dataset.root='a,b'"], ["dataset.root=c"]]),
        (["seed=3"], [[]]),
        ([], [[]]),
    ],
)  # fmt: skip
def test_the_grid(arguments: list[str], expected: list[list[str]]) -> None:
    planned = plan(arguments, [])
    assert [job.varies for job in planned.jobs] == expected
    assert len({job.key for job in planned.jobs}) == len(expected)
    assert not planned.named


def test_values_reach_the_jobs() -> None:
    roots = [job.composed.config["dataset"]["root"] for job in plan(["dataset.root='a,b',c"], []).jobs]
    assert [Path(root).name for root in roots] == ["a,b", "c"]


def test_cfg_shows_the_jobs_and_runs_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["train", "-m", "--cfg", "job", "seed=1,2"]) == 0
    assert capsys.readouterr().out == "seed=1\nseed=2\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["seed=range(0,1000000000000)"], "more than 10000 jobs"),
        (["seed=range(0.0,1000000000000)"], "more than 10000 jobs"),
        (["seed=shuffle(range(0,1000000000000))"], "more than 10000 jobs"),
        (["seed=range(0,20000)"], "more than 10000 jobs"),
        (["seed=range(0,200)", "model.latent_dim=range(1,200)"], "more than 10000 jobs"),
        (["seed=range(0,5,0)"], "cannot be counted"),
        (["seed=range(0.0,5.0,0.0)"], "cannot be counted"),
        (["hydra.run.dir=out"], "names its own run folders"),
        (["hydra.run.dir=a,b"], "names its own run folders"),
        (["hydra.sweep.dir=a,b"], "cannot vary"),
        (["hydra.verbose=true,false"], "cannot vary"),
        (["seed=1,2", "dry_run=true"], "no dry run"),
        (["dry_run=true,false"], "no dry run"),
    ],
)
def test_refused_sweeps(arguments: list[str], said: str, refused: Callable[..., str]) -> None:
    assert said in refused("train", "-m", *arguments)


@pytest.mark.parametrize("name", ["a\\b", "a'b", "a\\'b", "a\\", "a b,c=d"])
def test_folder_names_reach_the_jobs(name: str, tmp_path: Path) -> None:
    job = plan(["seed=1"], []).jobs[0]
    words = ["train", *sweeping.placed(job, tmp_path / name / "0").composed.words()]
    composed = compose.compose([word for word in words if "=" in word])
    assert composed.run_dir == tmp_path / name / "0"


def test_jobs_search_where_we_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = plan([], []).jobs[0]
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(tmp_path))])
    assert "-P" in jobs.interpreter(job, [])
    sys.path.insert(0, "")
    assert "-P" not in jobs.interpreter(job, [])


def test_a_study_is_the_overrides_of_its_file(refused: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine/sweep").mkdir(parents=True)
    Path("mine/sweep/both.yaml").write_text("# Two by two\nseed: 1,2\ntrainer.steps: 5,6\n")
    Path("mine/sweep/list.yaml").write_text("# A list\nseed: [1, 2]\n")
    mine = ["--config-dir", "mine"]
    assert [job.varies for job in plan(["sweep=seeds"], []).jobs] == [[f"seed={seed}"] for seed in range(5)]
    jobs = plan(["sweep=both", "seed=7"], ["mine"]).jobs  # the command line counts
    assert [(job.composed.config["seed"], job.composed.config["trainer"]["steps"]) for job in jobs] == [(7, 5), (7, 6)]
    assert main.main(["list", "sweeps"]) == 0
    assert "seeds" in capsys.readouterr().out
    assert "did you mean 'seeds'" in refused("train", "-m", "sweep=seed")
    assert "add -m" in refused("train", "sweep=seeds")
    assert "1,2,3" in refused("train", "-m", *mine, "sweep=list")
