from __future__ import annotations

from pathlib import Path

import pytest

from genlab.errors import ConfigError
from genlab.runs.records import find
from tests.support.written_runs import write_run


@pytest.fixture
def outputs() -> Path:
    best = {"metric": "valid/loss", "value": 1.5, "step": 50}
    result = {
        "file": "x",
        "metrics": {"fid": 2.0},
        "protocol": {"evaluator": "fid", "split": "test", "seed": 0, "step": 100},
    }
    write_run("outputs/a", 0, {"valid/elbo": -3.0}, best=best, evaluations=[result])
    model = {"name": "vae", "beta": 4.0, "binarize": False}
    write_run("outputs/b", 1, {"valid/elbo": -1.0}, config={"name": "beta_vae", "model": model})
    write_run("outputs/c", 2, {"valid/elbo": -2.0}, status="failed").joinpath("config.yaml").unlink()
    Path("outputs/d").mkdir()
    Path("outputs/d/run.json").write_text("damaged")
    return Path("outputs")


def names(root: Path, sort: str = "", **filters: str) -> str:
    keys = {key.replace("__", "."): value for key, value in filters.items()}
    return "".join(Path(record["path"]).name for record in find(root, keys, sort))


def test_filters_take_names_keys_of_the_configuration_and_patterns(outputs: Path) -> None:
    assert names(outputs, model="beta_vae") == "b"
    assert names(outputs, model="*vae") == "abc"
    assert names(outputs, model="*vae", status="done", seed="0") == "a"
    assert names(outputs, model__beta="4") == names(outputs, model__beta="4.0") == "b"
    assert names(outputs, model__binarize="false") == "b"
    assert names(outputs, status="damaged") == "d"
    assert names(outputs, dataset="cifar10") == ""


def test_records_are_sorted_by_any_value_and_those_without_it_come_last(outputs: Path) -> None:
    assert names(outputs, "valid/elbo") == "acbd"
    assert names(outputs, "-valid/elbo") == "bcad"
    assert names(outputs, "best_value")[0] == names(outputs, "-eval/fid/test/fid")[0] == "a"
    assert names(outputs, "model") == "bacd"


def test_unknown_keys_are_refused(outputs: Path) -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'model\.beta'"):
        names(outputs, model__betta="1")
    with pytest.raises(ConfigError, match="no run has the key 'valid/elbow'"):
        names(outputs, "-valid/elbow")
