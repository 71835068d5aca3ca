"""genlab runs and genlab list: filtered, sorted, and as JSON and CSV."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.support.commands import Refused, said
from tests.support.written_runs import write_run


def test_runs_filtered_and_as_json_and_csv(capsys: pytest.CaptureFixture[str]) -> None:
    for seed, name in enumerate(("vae", "iwae", "=1+1\x1b[2J")):
        run = write_run(f"outputs/{seed}", seed, {"valid/elbo": -float(seed)}, config={"name": name})
    (run / "run.json").write_text((run / "run.json").read_text().replace("-2.0", "-1e999"))
    lines = said(capsys, "runs", "model=*ae", "sort=valid/elbo").splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["outputs/1", "outputs/0"]
    records = json.loads(said(capsys, "runs", "--json", "sort=seed"))
    assert [record["valid/elbo"] for record in records] == [0, -1, None]  # minus infinity
    assert records[0]["model.latent_dim"] == 2
    text = said(capsys, "runs", "outputs", "--csv")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["model"] for row in rows] == ["vae", "iwae", "'=1+1?[2J"]
    assert said(capsys, "runs", "status=failed") == "no such runs in outputs\n"
    assert said(capsys, "runs", "valid/elbo=-1").splitlines()[1].endswith("outputs/1")


def test_what_runs_refuses(refused: Refused) -> None:
    write_run("outputs/a")
    assert "2 folders are named" in refused("runs", "outputs", "b")
    assert "no run has the key 'modell'; genlab runs; did you mean 'model'?" in refused("runs", "modell=vae")
    assert "'status' is given twice" in refused("runs", "status=done", "status=failed")


def test_a_folder_may_hold_an_equals_sign(capsys: pytest.CaptureFixture[str]) -> None:
    write_run("a=b/run")
    assert "a=b/run" in said(capsys, "runs", "./a=b")


def test_lists_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    records = json.loads(said(capsys, "list", "model", "networks", "--json"))
    assert {"kind": "models", "name": "vae"}.items() <= next(r for r in records if r["name"] == "vae").items()
    assert {record["kind"] for record in records} == {"models", "networks"}
    claims = json.loads(said(capsys, "reproduce", "--json"))
    assert {"claim", "figures"} <= claims[0].keys()
    assert Path("outputs").exists() is False
