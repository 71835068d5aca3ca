"""Which runs are one group, which metrics are compared, and what is concluded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from genlab.errors import ConfigError
from genlab.workflows.compare.comparison import Comparison, compare
from genlab.workflows.compare.verdicts import Pair
from tests.support.written_runs import write_result, write_run

LOW, HIGH = (10.0, 10.1, 9.9), (12.0, 12.101, 11.9)


def sweep(folder: str, values: tuple[float, ...], seeds: tuple[int, ...] = (0, 1, 2), **config: object) -> str:
    for seed, value in zip(seeds, values, strict=True):
        write_run(f"outputs/{folder}/{seed}", seed, {"valid/elbo": value}, config=config)
    return f"outputs/{folder}"


def only(found: Comparison) -> Pair:
    (pair,) = found.pairs
    return pair


def test_runs_that_differ_only_in_the_seed_are_one_group() -> None:
    names = [sweep("a", LOW), sweep("b", HIGH, dataset={"name": "digits", "limit": 100})]
    sweep("c", LOW, (3, 4, 5))
    found = compare([*names, "outputs/c"])
    assert [group.label for group in found.groups] == ["vae", "dataset.limit=100"]
    assert found.groups[0].seeds == [0, 1, 2, 3, 4, 5]
    assert found.differences == {"dataset.limit": ["-", "100"]}


def test_labels_name_models_first_and_then_the_fewest_keys() -> None:
    for number, (name, beta, width) in enumerate([("vae", 1.0, 4), ("vae", 2.0, 8), ("iwae", 1.0, 4)]):
        model = {"name": name, "beta": beta, "width": width, "more": number}
        write_run(f"outputs/{number}", config={"name": name, "model": model})
    labels = [group.label for group in compare(["outputs"]).groups]
    assert labels == ["vae, model.more=0", "vae, model.more=1", "iwae, model.more=2"]


def test_equal_seeds_are_paired_and_others_are_not() -> None:
    paired = only(compare([sweep("a", LOW), sweep("b", HIGH, name="other")]))
    assert paired.test is not None
    assert paired.test.paired
    assert paired.verdict == "different: B is higher"
    assert paired.over == "training seeds"
    welch = only(compare(["outputs/a", sweep("c", HIGH, (0, 1, 7), name="third")]))
    assert welch.test is not None
    assert not welch.test.paired


def test_noise_is_not_called_a_difference_and_says_how_many_seeds_it_would_take() -> None:
    a = sweep("a", (10.0, 11.0, 12.0))
    assert only(compare([a, sweep("b", (10.9, 11.2, 12.3), name="b")])).verdict == "about 5 more seeds each"
    assert only(compare([a, sweep("c", (12.0, 11.0, 10.1), name="c")])).verdict == "not distinguishable"
    assert only(compare([a, sweep("d", (10.0, 11.0, 12.0), name="d")])).verdict == "equal"


def test_one_training_seed_has_no_verdict_of_training() -> None:
    a, b = write_run("outputs/a"), write_run("outputs/b", config={"name": "b"})
    sweep("c", LOW, name="c")
    for run, values in ((a, (9.0, 9.1, 9.2)), (b, (12.0, 12.1, 12.2))):
        for seed, value in enumerate(values):
            write_result(run, {"fid": value}, seed=seed)
    pair = only(compare([str(a), str(b)]))
    assert pair.over == "sampling seeds"
    assert pair.verdict == "beyond the noise of sampling; training seeds untested"
    assert "say nothing about training" in str(compare([str(a), str(b)]))
    write_run("outputs/d", 0, {"valid/elbo": 3.0}, config={"name": "d"})
    assert only(compare(["outputs/c", "outputs/d"])).verdict == "no test: one training seed of B"


def test_differences_without_any_spread_have_no_test() -> None:
    found = compare([sweep("a", (8.0, 8.0), (0, 1)), sweep("b", (7.0, 7.0), (0, 1), name="b")])
    assert (only(found).verdict, only(found).test) == ("no test: no spread; more seeds needed", None)
    assert "no spread" in str(found)


def test_a_sampling_seed_counts_once_and_weights_are_kept_apart() -> None:
    a, b = write_run("outputs/a"), write_run("outputs/b", config={"name": "b", "trainer": {"ema_decay": 0.9}})
    for file in ("plain-00000100.json", "mine-00000100.json"):
        write_result(a, {"fid": 9.0}, file)
    write_result(b, {"fid": 8.0}, "ema-00000100.json", weights="ema")
    write_result(b, {"fid": 12.0}, "raw-00000100.json", weights="raw")
    found = compare(["outputs"])
    assert only(found).verdict == "no test: one training seed of A and B"
    assert {letter: values[0].mean for letter, values in only(found).metric.values.items()} == {"A": 9.0, "B": 8.0}
    assert [metric.title for metric in compare(["outputs/b"]).metrics] == [
        "fid: test/fid",
        'fid: test/fid weights="raw"',
    ]


def test_repeats_are_sampling_seeds_of_one_value() -> None:
    for name, mean in (("a", 9.0), ("b", 12.0)):
        run = write_run(f"outputs/{name}", config={"name": name})
        write_result(run, {"fid": mean, "fid_seed_sd": 0.1, "fid_floor": 1.0}, repeats=3)
    pair = only(compare(["outputs"]))  # neither the deviation nor the floor is a metric of its own
    assert pair.metric.values["A"][0].n == 3
    assert pair.test is not None
    assert (pair.test.low, pair.test.high) == pytest.approx((2.773, 3.227), abs=1e-3)  # t(4) = 2.776


@pytest.mark.parametrize(
    ("theirs", "reason"),
    [
        ({"images": 2000}, "another images (A: 500, B: 2000)"),
        ({"split": "valid"}, "only A has it"),
        ({"options": {"k": 3}}, 'another options (A: {}, B: {"k": 3})'),
        ({"data_fingerprint": "other"}, 'another data_fingerprint (A: null, B: "other")'),
    ],
)
def test_figures_of_other_protocols_are_not_compared(theirs: dict[str, object], reason: str) -> None:
    a, b = write_run("outputs/a"), write_run("outputs/b", config={"name": "b"})
    write_result(a, {"fid": 1.0}, seed=4, device="cpu")
    write_result(b, {"fid": 1.0}, **{"seed": 5, "device": "cuda", "step": 100, **theirs})
    found = compare(["outputs"])
    assert found.pairs == []
    assert found.not_compared["fid: test/fid"] == reason


def test_losses_are_compared_only_where_the_objective_is_the_same() -> None:
    def losses(name: str, model: dict[str, object]) -> Comparison:
        write_run(f"outputs/{name}", 0, {"valid/loss": 1.0, "valid/kl": 1.0}, config={"name": name, "model": model})
        return compare(["outputs/vae", f"outputs/{name}"])

    write_run(
        "outputs/vae",
        0,
        {"valid/loss": 1.0, "valid/kl": 1.0},
        config={"model": {"name": "vae", "beta": 1.0, "latent_dim": 2}},
    )
    assert losses("wide", {"name": "vae", "beta": 1.0, "latent_dim": 8, "network": {"name": "mlp"}}).not_compared == {}
    beta = losses("beta", {"name": "vae", "beta": 4, "latent_dim": 2})
    assert beta.not_compared == {"valid/loss": "another model.beta (A: 1, B: 4)"}
    assert [pair.metric.title for pair in beta.pairs] == ["valid/kl"]
    other = losses("gan", {"name": "gan", "loss": "hinge"})
    assert set(other.not_compared) == {"valid/loss", "valid/kl"}
    assert other.not_compared["valid/kl"] == 'another model.name (A: "vae", B: "gan", and 1 more)'


def test_numbers_in_the_models_own_units_need_the_same_distribution_of_pixels() -> None:
    for likelihood in ("bernoulli", "gaussian"):
        model = {"name": "vae", "likelihood": likelihood, "beta": 1.0}
        config = {"name": likelihood, "model": model}
        write_run(f"outputs/{likelihood}", 0, {"valid/elbo": 1.0}, config=config)
    reason = 'another model.likelihood (A: "bernoulli", B: "gaussian")'
    assert compare(["outputs"]).not_compared == {"valid/elbo": reason}


@pytest.mark.parametrize(("theirs", "verdicts"), [({"images": 500.0, "of": None}, 1), ({"images": 5000}, 0)])
def test_a_metric_of_training_has_the_protocol_of_the_evaluator_that_found_it(
    theirs: dict[str, object], verdicts: int
) -> None:
    for name, protocol in (("a", {"images": 500}), ("b", theirs)):
        found_by = {
            "diversity": {**protocol, "metrics": ["valid/distance_of_pairs"]},
            "pairs": {"n": name, "metrics": []},
        }
        metrics = {"valid/distance_of_pairs": 1.0}
        write_run(f"outputs/{name}", 0, metrics, config={"name": name}, protocols=found_by)
    found = compare(["outputs"])
    assert len(found.pairs) == verdicts
    if not verdicts:
        reason = 'another diversity (A: {"images": 500}, B: {"images": 5000})'
        assert found.not_compared == {"valid/distance_of_pairs": reason}


def test_protocols_that_python_calls_equal_may_differ() -> None:
    for name, flag in (("a", True), ("b", 1)):
        write_result(write_run(f"outputs/{name}", config={"name": name}), {"fid": 1.0}, mixed=flag)
    assert compare(["outputs"]).not_compared == {"fid: test/fid": "another mixed (A: true, B: 1)"}


def test_results_of_earlier_checkpoints_are_not_figures_of_the_run() -> None:
    for name in ("a", "b"):
        write_result(write_run(f"outputs/{name}", config={"name": name}), {"fid": 1.0}, step=50)
    assert compare(["outputs"]).metrics == []


def test_runs_that_cannot_be_used_are_named_with_the_reason() -> None:
    write_run("outputs/a")
    write_run("outputs/older", started=1)
    write_run("outputs/stopped", 1, status="stopped")
    write_run("outputs/strange", 2, config={"model": 3})
    write_run("outputs/gone", 3).joinpath("config.yaml").unlink()
    Path("outputs/damaged").mkdir()
    Path("outputs/damaged/run.json").write_text("{")
    found = compare(["outputs"])
    assert [str(run.path) for group in found.groups for run in group.runs] == ["outputs/a"]
    text = "\n".join(found.left_out)
    assert all(f"outputs/{name}: " in text for name in ("older", "stopped", "strange", "gone", "damaged"))
    with pytest.raises(ConfigError, match="no run can be compared"):
        compare(["outputs/stopped"])


def test_numbers_that_are_not_finite_or_enormous_are_left_out() -> None:
    for name, value in (("a", 1e300), ("b", -1e300)):
        run = write_run(f"outputs/{name}", 0, {"valid/x": value, "valid/y": None}, config={"name": name})
        write_result(run, {"fid": value, "fid_seed_sd": value}, repeats=3)
        text = (run / "run.json").read_text().replace("1e+300", "1e999")
        (run / "run.json").write_text(text)
    assert compare(["outputs"]).metrics == []


def test_records_are_flat_and_everything_is_json() -> None:
    found = compare([sweep("a", LOW), sweep("b", HIGH, name="b")])
    assert [record["value"] for record in found.records()] == [*LOW, *HIGH]
    assert {(record["group"], record["run"], record["seed"]) for record in found.records()} >= {("B", "outputs/b/2", 2)}
    whole = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    (metric,) = whole["metrics"]
    assert metric["groups"]["A"]["values"] == {"0": 10.0, "1": 10.1, "2": 9.9}
    assert metric["pairs"][0]["verdict"] == "different: B is higher"


def test_patterns_choose_figures() -> None:
    for name in ("a", "b"):
        metrics = {"valid/elbo": 1.0, "valid/kl": 1.0, "valid/encoder/kl": 1.0}
        write_run(f"outputs/{name}", 0, metrics, config={"name": name})
    assert [f.key.name for f in compare(["outputs"], ["*kl"]).metrics] == ["kl", "encoder/kl"]
    with pytest.raises(ConfigError, match="no metric is named 'elb'; metric=; did you mean 'elbo'"):
        compare(["outputs"], ["kl", "elb"])


def test_the_level_of_intervals_is_not_rounded() -> None:
    assert "99.9% intervals" in str(compare([sweep("a", LOW), sweep("b", HIGH, name="b")], alpha=0.001))
