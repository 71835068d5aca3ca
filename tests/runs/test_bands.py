from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from genlab.core.values import Logger
from genlab.runs import bands
from genlab.runs.band_watch import BAND, BandWatch

STEPS = range(10, 1001, 10)
Numbers = dict[str, list[tuple[int, float]]]


def curves(seed: int, factor: float = 1.0, begin: int = 0) -> Numbers:
    """A loss that falls from 60 to 50 with noise of ±1, `factor` times as high after the step `begin`."""
    noise = random.Random(seed)
    loss = [(step, (factor if step > begin else 1.0) * (50 + 100 / step + noise.gauss(0, 1))) for step in STEPS]
    return {"train/loss": loss, "train/learning_rate": [(step, 0.1) for step in STEPS]}


@pytest.fixture(scope="module")
def band() -> bands.Band:
    return bands.make("vae_mnist", {"model.name": "vae"}, [curves(seed) for seed in range(5)])


def judged(band: bands.Band, run: Numbers) -> bands.Judge:
    judge = bands.Judge(band)
    for step, value in run["train/loss"]:
        judge.add(step, "train", {"loss": value})
    return judge


def test_points_are_spaced_evenly_in_the_logarithm_and_cover_every_logged_value(band: bands.Band) -> None:
    curve = band.curves["train/loss"]
    assert set(band.curves) == {"train/loss"}  # the learning rate is part of the configuration
    assert (curve.steps[0], curve.steps[-1]) == (10, 1000)
    assert sum(curve.counts) == len(STEPS)
    assert 8 <= len(curve.steps) <= bands.POINTS
    late = [after / before for before, after in zip(curve.steps[4:], curve.steps[5:], strict=False)]
    assert max(late) / min(late) < 1.4


def test_runs_with_other_seeds_are_inside_and_one_with_higher_losses_is_outside_from_where_they_rise(
    band: bands.Band,
) -> None:
    for seed in range(5, 25):
        found = judged(band, curves(seed)).found()
        assert found
        assert bands.words(found) == "inside the band of 5 runs of experiment=vae_mnist"
    found = judged(band, curves(30, factor=1.5, begin=100)).found()
    assert found
    (excursion,) = found["excursions"]
    assert 100 < excursion["since"] <= 200
    assert not excursion["ended"]
    assert bands.words(found).startswith(
        f"outside the band of 5 runs of experiment=vae_mnist since step {excursion['since']}: train/loss is 7"
    )


def test_fewer_points_outside_than_the_patience_are_no_alarm_and_later_ones_inside_end_it(band: bands.Band) -> None:
    ends = band.curves["train/loss"].steps

    def outside(first: int, last: int) -> dict[str, Any]:
        """What is found of a run whose losses are too high in these points."""
        low, high = ends[first - 1], ends[last]
        run = [(step, value + 50 * (low < step <= high)) for step, value in curves(31)["train/loss"]]
        found = judged(band, {"train/loss": run}).found()
        assert found
        return found

    assert outside(5, 4 + bands.PATIENCE - 1)["excursions"] == []
    found = outside(5, 4 + bands.PATIENCE)
    assert found["excursions"][0]["ended"]
    assert bands.words(found).endswith(
        f"again; train/loss was outside from step {ends[5]} to {ends[4 + bands.PATIENCE]}"
    )


def test_a_loss_that_is_not_finite_is_outside(band: bands.Band) -> None:
    judge = judged(band, {"train/loss": [(step, math.nan) for step in STEPS]})
    assert judge.excursions[0].value is None
    assert "train/loss is not finite" in bands.words(judge.found() or {})


def test_a_run_that_logs_at_other_steps_is_not_compared(band: bands.Band) -> None:
    other = [(step - 5, 1000.0) for step in STEPS]
    assert judged(band, {"train/loss": other}).found() is None
    often = sorted([*other, *((step, 1000.0) for step in STEPS)])
    assert judged(band, {"train/loss": often}).found() is None


def test_curves_that_runs_do_not_share_or_log_at_other_steps_have_no_band() -> None:
    one, other = curves(0), curves(1)
    one["valid/loss"] = [(10, 1.0), (20, 1.0), (30, 1.0)]
    other["train/loss"] = other["train/loss"][1:]
    assert bands.make("x", {}, [one, other]).curves == {}


class Texts(Logger):
    def __init__(self) -> None:
        self.said: list[tuple[int, str, str]] = []

    def text(self, step: int, name: str, text: str) -> None:
        self.said.append((step, name, text))


def test_the_watch_speaks_when_the_run_enters_and_leaves_the_band(band: bands.Band, tmp_path: Path) -> None:
    texts = Texts()
    watch = BandWatch(texts, band, tmp_path)
    watch.start(0, 1000, "VAE")
    for step, value in curves(7, factor=2, begin=300)["train/loss"]:
        watch.scalars(step, "train", {"loss": value})
    (first, name, inside), (later, _, outside) = texts.said
    assert (first, name) == (10, BAND)
    assert inside.startswith("inside")
    assert later > 300
    assert outside.startswith("outside")


def test_a_resumed_run_is_judged_by_what_it_logged_before(band: bands.Band, tmp_path: Path) -> None:
    run = curves(7, factor=2, begin=300)["train/loss"]
    whole = judged(band, {"train/loss": run}).found()
    with (tmp_path / "metrics.jsonl").open("w") as file:
        for step, value in run[:60]:
            print(json.dumps({"step": step, "time": 0, "split": "train", "loss": value}), file=file)
    watch = BandWatch(Texts(), band, tmp_path)
    watch.start(600, 1000, "VAE")
    for step, value in run[60:]:
        watch.scalars(step, "train", {"loss": value})
    assert watch.found() == whole


def test_without_a_band_the_watch_passes_everything_on_and_finds_nothing(tmp_path: Path) -> None:
    texts = Texts()
    watch = BandWatch(texts, None, tmp_path)
    watch.start(0, 10, "VAE")
    watch.scalars(10, "train", {"loss": 1.0})
    watch.text(10, "diagnosis/x", "words")
    assert texts.said == [(10, "diagnosis/x", "words")]
    assert watch.found() is None
