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
  head: {overrides: ["model.init_from={runs}/body"], minutes: 1, after: body, evals: [[evaluator=objective]]}
  many:
    {overrides: [model=gan], minutes: 50, seeds: 3, evals: [[evaluator=fid], [evaluator=nll, name=few, split=valid]]}
rows:
  - {what: one, runs: [head], evaluator: objective-test, metric: loss}
  - {what: both, runs: [head, many], evaluator: training, metric: loss}
  - {what: many, runs: [many], evaluator: fid-test, metric: fid}
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
        for measured in run.evaluations():
            check_evaluator(dict(option.split("=", 1) for option in measured.options))
    assert all((ROOT / image).exists() for image in part.images)


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
    assert [row.what for row in cheap({"a": PART}, 53)["a"].rows] == ["one", "both", "many"]
    assert list(cheap({"a": PART}, 3)["a"].runs) == ["body", "head"]
    assert cheap({"a": PART}, 2.5) == {}  # the head is cheap, not the body that it needs
    assert cheap({"a": PART}, 0.5) == {}


def test_sections_and_runs_are_chosen_by_name_with_what_comes_before() -> None:
    assert chosen({"a": PART}, ["a"]) == {"a": PART}
    assert list(chosen({"a": PART}, ["head"])["a"].runs) == ["body", "head"]
    with pytest.raises(ConfigError, match="did you mean 'head'"):
        chosen({"a": PART}, ["heat"])
    with pytest.raises(ConfigError, match=r"no figure rests on body alone; .*choose its section, a"):
        chosen({"a": PART}, ["body"])


def test_a_run_comes_after_all_that_it_needs() -> None:
    overrides = {"overrides": ["model=vae"], "minutes": 1}
    runs = {"last": {**overrides, "after": "middle"}, "middle": {**overrides, "after": "first"}, "first": overrides}
    row = {"what": "x", "runs": ["last"], "evaluator": TRAINING, "metric": "loss"}
    part = Claims.model_validate({"title": "t", "runs": runs, "rows": [row]})
    assert list(chosen({"a": part}, ["last"])["a"].runs) == ["first", "middle", "last"]
    assert cheap({"a": part}, 2.5) == {}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"rows": "{what: x, runs: [heat], evaluator: training, metric: a}"},
            "unknown run 'heat': did you mean",
        ),
        ({"curves": "{runs: [nothing], metric: a}"}, "unknown run 'nothing'"),
        ({"head": "{overrides: [model=vae], minutes: 1, after: bodi}"}, "unknown run 'bodi': did you mean 'body'"),
        ({"body": "{overrides: [model=vae], minutes: 1, after: head}"}, "comes after itself"),
        ({"head": "{overrides: [model=vae], minutes: 1, evals: [[evaluator]]}"}, "runs.head.evals.0.0: "),
        ({"head": "{overrides: [model=vae], minutes: 1, evals: [['evaluator=[nll,fid]', name=a]]}"}, "one name for"),
        ({"head": "{overrides: [model=vae], minutes: 1, evals: [[], [repeats=2]]}"}, "two results of one name"),
        ({"head": "{overrides: [model=vae], minutes: 1, evals: [[repeats=two]]}"}, "repeats=two is not a number"),
        ({"head": "{overrides: [model=vae], minutes: 1, seeds: 1000000}"}, "runs.head.seeds: "),
        ({"body": "{overrides: [model=vae], minutes: 1}, a/b: {overrides: [model=vae], minutes: 1}"}, "runs.a/b."),
        ({"rows": "{what: x, runs: [head], evaluator: fid-test, metric: a}"}, "'head' has no result 'fid-test'"),
        ({"rows": "{what: x, runs: [head], evaluator: training, metric: a, protocol: {n: 1}}"}, "have no protocol"),
    ],
)
def test_claims_that_cannot_be_right_are_refused_in_one_line(
    tmp_path: Path, change: dict[str, str], problem: str
) -> None:
    plain = "{overrides: [model=vae], minutes: 1, evals: [[evaluator=objective]]}"
    parts = {"body": plain, "head": plain.replace("1,", "1, after: body,"), "curves": "{runs: [head], metric: a}",
             "rows": "{what: x, runs: [head], evaluator: objective-test, metric: a}"}  # fmt: skip
    text = "title: t\nruns: {{body: {body}, head: {head}}}\nrows: [{rows}]\ncurves: [{curves}]\n"
    (tmp_path / "a.yaml").write_text(text.format(**parts))
    load(tmp_path)
    (tmp_path / "a.yaml").write_text(text.format(**(parts | change)))
    with pytest.raises(ConfigError, match="the claims cannot be used") as caught:
        load(tmp_path)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_list_of_evaluators_is_one_measurement_each() -> None:
    evals = [["evaluator=[fid, prdc]", "evaluator.fid.images=9", "split=valid", "repeats=3"]]
    fid, prdc = Run(overrides=["model=gan"], minutes=1, evals=evals).evaluations()
    assert fid.options == ["evaluator=fid", "evaluator.fid.images=9", "split=valid", "repeats=3", "name=fid"]
    assert prdc.options == ["evaluator=prdc", "split=valid", "repeats=3", "name=prdc"]
    assert (fid.stems(), prdc.stems()) == (("fid-valid", "fid"), ("prdc-valid", "prdc"))


def test_the_commands_of_a_run() -> None:
    head, many = PART.runs["head"], PART.runs["many"]
    assert head.train_words("head", Path("x")) == ["train", "model.init_from=x/body", "hydra.run.dir=x/head"]
    assert many.train_words("many", Path("x")) == ["train", "-m", "model=gan", "seed=0,1,2", "hydra.sweep.dir=x/many"]
    assert many.names("many") == ["many/0", "many/1", "many/2"]
    assert [each.options for each in many.evaluations()] == [
        ["evaluator=fid", "name=fid"],
        ["evaluator=nll", "split=valid", "name=few"],
    ]
    assert [each.stems()[0] for each in many.evaluations()] == ["fid-test", "few-valid"]
    assert many.overrides_of("many/2", Path("x")) == ["model=gan", "seed=2"]
    assert head.overrides_of("head", Path("x")) == ["model.init_from=x/body"]
    [plain] = Run(overrides=["model=vae"], minutes=1, evals=[[]]).evaluations()
    assert (plain.evaluator, plain.options, plain.stems()[0]) == ("objective", ["name=objective"], "objective-test")
