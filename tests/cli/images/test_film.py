"""genlab film: the frames are the states of a path, bounded in number and size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genlab.cli import main
from genlab.cli.images import film
from genlab.evaluation import sampling_path
from tests.support.commands import SMALL_VAE, Refused, said
from tests.support.written_runs import write_image

NETWORK = "model.network={name: film_mlp, width: 8, layers: 1}"
COMMON = ["model=flow_matching", NETWORK, "optimizer.lr=0.1", "trainer.steps=5", "evaluator=none", "logger=quiet"]


def frames_of(path: str) -> list[tuple[np.ndarray, int]]:
    """The pixels and milliseconds of each frame; equal frames are one."""
    found = []
    with Image.open(path) as opened:
        for index in range(getattr(opened, "n_frames", 1)):
            opened.seek(index)
            found.append((np.asarray(opened.convert("L")).astype(float), int(opened.info["duration"])))
    return found


def test_a_film_shows_the_states_and_rests_at_the_end(
    capsys: pytest.CaptureFixture[str], refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main.main(["train", *COMMON, "dataset=digits", "hydra.run.dir=outputs/a"]) == 0
    capsys.readouterr()
    first = said(capsys, "film", "outputs/a", "n=4", "steps=6", "fps=10").strip()
    assert first == "outputs/a/images/film-seed0-n4-fps10-steps6.gif"
    found = frames_of(first)
    assert len(found) == 7
    assert [duration for _, duration in found] == [100] * 6 + [1000]
    webp = said(capsys, "film", "outputs/a", "n=4", "steps=9", "frames=3", "solver=euler", "out=x.webp").strip()
    assert len({pixels.tobytes() for pixels, _ in frames_of(webp)}) == 3
    assert "unknown key 'step'" in refused("film", "outputs/a", "step=3")
    assert ".gif or .webp or .mp4 or .png" in refused("film", "outputs/a", "out=film.avi")
    monkeypatch.setattr(film, "MOST_PIXELS", 10_000)
    monkeypatch.setattr(sampling_path, "states", None)  # nothing is sampled
    assert "million pixels is too large; keys n and frames; use fewer" in refused("film", "outputs/a", "frames=30")


def test_points_are_filmed_and_other_models_have_no_path(capsys: pytest.CaptureFixture[str], refused: Refused) -> None:
    assert main.main(["train", *COMMON, "dataset=ring", "hydra.run.dir=outputs/b"]) == 0
    assert main.main(["train", *SMALL_VAE, "trainer.steps=2", "evaluator=none", "hydra.run.dir=outputs/c"]) == 0
    capsys.readouterr()
    [*_, (last, _)] = found = frames_of(said(capsys, "film", "outputs/b", "n=9", "steps=2", "captions=false").strip())
    assert len(found) == 3
    assert last.shape == (film.SIDE, film.SIDE)
    assert "lacks HasPath" in refused("film", "outputs/c", "over=path")
    assert "no images of several steps" in refused("film", "outputs/c")
    for step in (5, 10, 15):
        write_image(Path("outputs/c"), "samples", step, 10 * step)
    assert len(frames_of(said(capsys, "film", "outputs/c", "frames=3", "fps=5", "out=t.gif").strip())) == 3
    with Image.open(said(capsys, "film", "outputs/c", "captions=false", "frames=2", "out=strip.png").strip()) as strip:
        assert strip.size == (4 + 2 * 8, 12)  # the first and the last, 4 pixels wide, gaps of 4
        assert [strip.convert("L").getpixel((x, 5)) for x in (5, 13)] == [50, 150]
    assert not list(Path("outputs/c").glob("images/film*"))
    assert said(capsys, "film", "outputs/c", "strip=true", "frames=2").strip().endswith(".png")
