"""The claims that genlab comes with: all can be composed, and what counts as cheap is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from genlab.config import compose
from genlab.errors import ConfigError
from genlab.registry import EVALUATORS, discover
from genlab.workflows.reproduce.claims import BUDGET, RUNS, TRAINING, Claims, Run, cheap, chosen, load

ROOT = Path(__file__).resolve().parents[3]
CLAIMS = load()
OF_SAMPLES = {"fid", "kid", "prdc", "diversity", "conditional_accuracy", "sharpness", "modes", "memorization"}
PART = Claims.model_validate(
    yaml.safe_load("""
title: A part
runs:
  body: {overrides: [model=vae], minutes: 2}
  head: {overrides: ["model.init_from={runs}/body"], minutes: 1, after: body}
  many:
    {overrides: [model=gan], minutes: 50, seeds: 3, evals: [[evaluator=fid], [evaluator=nll, name=few, split=valid]]}
rows:
  - {what: one, runs: [head], evaluator: objective-test, metric: loss}
  - {what: both, runs: [head, many], evaluator: fid-test, metric: fid}
""")
)


def test_an_experiment_that_cites_the_page_is_claimed_there() -> None:
    claimed = {word for part in CLAIMS.values() for run in part.runs.values() for word in run.overrides}
    for path in (ROOT / "configs" / "experiment").glob("*.yaml"):
        if "docs/results.md" in path.read_text():
            assert f"experiment={path.stem}" in claimed


@pytest.mark.parametrize("name", CLAIMS)
def test_what_is_claimed_can_be_run(name: str) -> None:
    discover()
    part = CLAIMS[name]
    for run in part.runs.values():
        words = [word.replace(RUNS, "outputs") for word in run.overrides]
        compose.precheck(compose.compose([*words, *(["seed=0"] if run.seeds > 1 else [])]).config)
        for options in run.evals:
            check_evaluator(dict(option.split("=", 1) for option in options))
        assert run.after is None or run.after in part.runs
    for row in part.rows:
        assert set(row.runs) <= part.runs.keys()
        measured = [{stem for stem, _ in part.runs[run].eval_words()} for run in row.runs]
        assert row.evaluator == TRAINING or all(row.evaluator in stems for stems in measured), row.what
    for curve in part.curves:
        assert set(curve.runs) <= part.runs.keys()
    assert all((ROOT / picture).exists() for picture in part.pictures)


def check_evaluator(keys: dict[str, str]) -> None:
    evaluator = keys.pop("evaluator", "objective")
    own = {key.removeprefix(f"evaluator.{evaluator}."): yaml.safe_load(value) for key, value in keys.items()}
    EVALUATORS.check({"name": evaluator, **{key: own[key] for key in own.keys() - {"name", "split", "repeats"}}})


def test_figures_of_samples_have_error_bars_over_sampling_seeds() -> None:
    for part in CLAIMS.values():
        for words in (words for run in part.runs.values() for words in run.evals):
            if any(word.removeprefix("evaluator=") in OF_SAMPLES for word in words):
                assert "repeats=3" in words, words


def test_run_names_are_unique_over_all_files() -> None:
    names = [name for part in CLAIMS.values() for name in part.runs] + list(CLAIMS)
    assert len(set(names)) == len(names)


def test_the_cheap_runs_fit_into_their_budget_and_keep_whole_rows() -> None:
    parts = cheap(CLAIMS)
    assert 0 < sum(run.minutes for part in parts.values() for run in part.runs.values()) <= BUDGET
    assert all(set(row.runs) <= part.runs.keys() for part in parts.values() for row in part.rows)
    assert [row.what for row in cheap({"a": PART}, 10)["a"].rows] == ["one"]
    assert [row.what for row in cheap({"a": PART}, 53)["a"].rows] == ["one", "both"]
    assert cheap({"a": PART}, 0.5) == {}


def test_sections_and_runs_are_chosen_by_name_with_what_comes_before() -> None:
    assert chosen({"a": PART}, ["a"]) == {"a": PART}
    assert list(chosen({"a": PART}, ["head"])["a"].runs) == ["body", "head"]
    with pytest.raises(ConfigError, match="did you mean 'head'"):
        chosen({"a": PART}, ["heat"])


def test_the_commands_of_a_run() -> None:
    head, many = PART.runs["head"], PART.runs["many"]
    assert head.train_words("head", Path("x")) == ["train", "model.init_from=x/body", "hydra.run.dir=x/head"]
    assert many.train_words("many", Path("x")) == ["train", "-m", "model=gan", "seed=0,1,2", "hydra.sweep.dir=x/many"]
    assert many.names("many") == ["many/0", "many/1", "many/2"]
    assert list(many.eval_words()) == [
        ("fid-test", ["evaluator=fid", "name=fid"]),
        ("few-valid", ["evaluator=nll", "name=few", "split=valid"]),
    ]
    assert not any(RUNS in word for word in head.train_words("head", Path("x")))
    assert list(Run(overrides=["model=vae"], minutes=1, evals=[[]]).eval_words()) == [
        ("objective-test", ["name=objective"])
    ]
