"""Small trained runs, made once and copied for each trial, and the commands that take them."""

from __future__ import annotations

import shutil
from pathlib import Path

from genlab.utils.file_lock import lock
from tests.harness.endings import ending
from tests.support.synthetic import photo

SMALL = ["trainer.steps=2", "trainer.log_every=1", "checkpoint.every=1", "logger=[jsonl,tensorboard,images]"]
FOLDER = ["dataset.root=PHOTOS", "dataset.size=16", "dataset.base={name: folder, valid: 4, test: 4}"]
DIGITS = ["dataset=digits", "trainer.batch_size=16"]
GAN = ["model.generator.base_channels=2", "model.discriminator.base_channels=2"]
# name: how it is trained, and the commands that write or print something of it, RUN and PHOTOS standing for paths
RUNS: dict[str, tuple[list[str], list[list[str]]]] = {
    "vae": (["model=vae", "model.network.hidden=[8]", "model.latent_dim=2", *DIGITS,
             "evaluator=[objective,samples,embedding,reconstructions]"], [
        ["resume", "RUN", "trainer.steps=3"], ["sample", "RUN", "n=4"], ["sample", "RUN", "n=4", "out=a.npz"],
        ["reconstruct", "RUN", "n=4"], ["interpolate", "RUN", "n=2"], ["traverse", "RUN"],
        ["encode", "RUN", "split=test"],
        ["anomaly", "RUN"], ["anomaly", "RUN", "image=PHOTOS"], ["denoise", "RUN"],
        ["inpaint", "RUN", "image=PHOTOS/0.png"],
        ["walk", "RUN", "n=1", "steps=2"], ["arithmetic", "RUN", "attribute=3", "images=50"],
        ["project", "RUN", "image=PHOTOS/0.png", "steps=2"], ["eval", "RUN", "evaluator=[objective,samples]"],
        ["info", "RUN"], ["runs", "."]]),
    "pix2pix": (["model=pix2pix", *GAN, "model.discriminator.layers=1", "dataset=colorize", *FOLDER,
                 "trainer.batch_size=4", "evaluator=translations"], [
        ["resume", "RUN", "trainer.steps=3"], ["translate", "RUN", "n=2"], ["translate", "RUN", "input=PHOTOS"],
        ["translate", "RUN", "input=PHOTOS/0.png", "folder=drawn"], ["eval", "RUN"], ["info", "RUN"]]),
    "gan": (["model=gan", "model.generator.hidden=[4]", "model.discriminator.hidden=[4]", "model.latent_dim=2", *DIGITS,
             "evaluator=[samples,gan_diagnosis]"], [
        ["resume", "RUN", "trainer.steps=3"], ["sample", "RUN", "n=2"], ["interpolate", "RUN", "n=1"], ["eval", "RUN"],
        ["walk", "RUN", "n=1", "stops=2", "steps=2"], ["project", "RUN", "image=PHOTOS", "steps=2"]]),
    "kmeans": (["model=kmeans", "model.centroids=4", *DIGITS, "evaluator=[objective,filters]"], [
        ["resume", "RUN", "trainer.steps=3"], ["encode", "RUN"], ["eval", "RUN"]]),
}  # fmt: skip


def copied(name: str, shared: Path, folder: Path) -> Path:
    """A copy of the run `name` of RUNS as `folder`/run, with its images in `folder`/photos; `shared` keeps the run."""
    base = shared / "trained" / name
    base.mkdir(parents=True, exist_ok=True)
    with lock(base / "lock", f"the run {name}"):
        if not (base / "run/report.html").exists():
            _train(name, base)
    for part in ("run", "photos"):
        shutil.copytree(base / part, folder / part)
    return folder / "run"


def words(command: list[str], run: Path) -> list[str]:
    """A command of RUNS with its paths."""
    return [word.replace("RUN", str(run)).replace("PHOTOS", str(run.with_name("photos"))) for word in command]


def _train(name: str, base: Path) -> None:
    (base / "photos").mkdir()
    for index in range(12):
        photo(index, 20, 20).save(base / f"photos/{index}.png")
    ended = ending(words(["train", *SMALL, *RUNS[name][0], "hydra.run.dir=RUN"], base / "run"), base)
    assert not ended.code, ended.err
