"""genlab denoise and inpaint with a model that restores by sampling."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genlab.cli import main
from tests.support.commands import SMALL_VAE, Refused, said

RUN = [
    "model=flow_matching", "model.network={name: film_mlp, width: 8, layers: 1}", "dataset=digits", "trainer.steps=2",
    "evaluator=none", "logger=quiet", "hydra.run.dir=outputs/flow",
]  # fmt: skip


def cells(path: str) -> tuple[int, int]:
    """Rows and columns of a grid of digits."""
    width, height = Image.open(path.strip()).size
    return (height - 2) // 66, (width - 2) // 66  # enlarged to 64 pixels


def test_a_flow_denoises_and_inpaints(capsys: pytest.CaptureFixture[str], refused: Refused) -> None:
    said(capsys, "train", *RUN)
    assert cells(said(capsys, "denoise", "flow", "n=6", "columns=3", "steps=2", "captions=false")) == (
        8,
        3,
    )  # mean, and below it sample
    assert cells(said(capsys, "inpaint", "flow", "n=6", "columns=3", "steps=2", "repeats=1", "captions=false")) == (
        6,
        3,
    )
    few, more = (said(capsys, "inpaint", "flow", "n=2", f"steps={steps}").strip() for steps in (2, 3))
    assert Path(few).read_bytes() != Path(more).read_bytes()

    options = json.loads(Path("outputs/flow/run.json").read_text())["model"]["options"]
    assert [*options["denoise"]] == ["steps", "guidance", "label"]  # for completion
    assert [*options["inpaint"]] == ["steps", "jump", "repeats", "guidance", "label"]
    assert "genlab inpaint RUN" in said(capsys, "info", "flow")
    assert "did you mean 'repeats'?" in refused("inpaint", "flow", "repeat=2")
    assert "without classes; keys label and guidance" in refused("denoise", "flow", "label=1")
    salt = "evaluator.denoise.corruption=salt_pepper"
    assert f"removes only Gaussian noise; {salt}; use" in refused("eval", "flow", "evaluator=denoise", salt)
    assert "lacks Reconstructs; " in refused("reconstruct", "flow")


def test_what_an_evaluator_cannot_do_is_refused_before_it_begins(
    capsys: pytest.CaptureFixture[str], refused: Refused
) -> None:
    points = [word.replace("digits", "ring") for word in RUN]
    said(capsys, "train", *points)
    assert "points have no pixels to restore; key evaluator.inpaint" in refused("eval", "flow", "evaluator=inpaint")
    elsewhere = "evaluator=denoise", "hydra.run.dir=outputs/other"
    assert "pixels to restore; key evaluator.denoise" in refused("train", *points, *elsewhere)
    assert not list(Path("outputs/flow").glob("eval/*"))


def test_a_flow_must_know_how_noisy_an_image_of_ones_own_is(
    capsys: pytest.CaptureFixture[str], refused: Refused
) -> None:
    said(capsys, "train", *RUN)
    Image.fromarray(np.full((8, 8), 128, np.uint8)).save("mine.png")
    unknown = "must know how noisy the image is; key image_sigma; add image_sigma=0.2"
    assert unknown in refused("denoise", "flow", "image=mine.png")
    assert "no noise; key image_sigma; use sigma" in refused("denoise", "flow", "image_sigma=0.1")
    assert main.main(["denoise", "flow", "image=mine.png", "image_sigma=0.1", "steps=2", "captions=false"]) == 0
    out, err = capsys.readouterr()
    assert "no noise is added" in err
    assert cells(out) == (3, 1)  # as given, mean, sample
    said(capsys, "train", *SMALL_VAE, *RUN[2:-1], "hydra.run.dir=outputs/vae")
    assert "is not told how noisy an image is; key image_sigma; leave it out" in refused(
        "denoise", "vae", "image=mine.png", "image_sigma=0.1"
    )
