"""Shell completion: the right candidates, and scripts that a shell accepts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import genlab
from genlab.cli import main
from genlab.cli.completion import candidates


def test_commands() -> None:
    assert candidates("genlab tr") == ["train", "translate", "traverse", "trust"]
    assert set(main.COMMANDS) <= set(candidates("genlab "))


def test_groups_options_and_keys() -> None:
    assert candidates("genlab train mode") == [
        "model.beta=", "model.beta_schedule=", "model.binarize=", "model.decoder=", "model.latent_dim=",
        "model.likelihood=", "model.network.activation=", "model.network.hidden=", "model.network.name=",
        "model.perceptual=", "model.sigma=", "model=",
    ]  # fmt: skip
    assert candidates("genlab train model=dcgan") == ["model=dcgan", "model=dcgan_vae"]
    assert "dataset=mnist" in candidates("genlab prepare dataset=")
    assert candidates("genlab prepare dataset=mnist ver") == ["verify="]
    assert candidates("genlab prepare verify=") == ["verify=false", "verify=true"]
    assert candidates("genlab train ver") == []
    assert "experiment=quick" in candidates("genlab train experiment=")
    assert {"seed=", "trainer.steps=", "checkpoint.every=", "hydra.run.dir=", "evaluator.samples.n="} <= set(
        candidates("genlab train ")
    )
    assert candidates("genlab train trainer.precision=b") == ["trainer.precision=bf16"]


def test_keys_follow_the_options_chosen() -> None:
    keys = candidates("genlab train model=dcgan model.")
    assert "model.generator.base_channels=" in keys
    assert "model.beta=" not in keys
    assert "optimizer.momentum=" in candidates("genlab train optimizer=sgd optimizer.")


def test_every_key_offered_is_accepted() -> None:
    from genlab.config import compose, overrides

    known = overrides.flatten(compose.compose(["recipe=null"]).config)
    dotted = [key[:-1] for key in candidates("genlab train recipe=null ") if "." in key and not key.startswith("hydra")]
    assert len(dotted) > 30
    assert [key for key in dotted if key not in known] == []


def test_runs_and_their_options(tmp_path: Path) -> None:
    run = tmp_path / "outputs" / "vae-digits" / "now"
    run.mkdir(parents=True)
    options = {"steps": [], "solver": ["euler", "heun"]}
    (run / "run.json").write_text(json.dumps({"status": "done", "model": {"options": {"sample": options}}}))
    assert candidates("genlab sample ") == ["last", "outputs/vae-digits/now"]
    assert candidates("genlab resume outputs/v") == ["outputs/vae-digits/now"]
    assert candidates("genlab interpolate last mode=s") == ["mode=slerp"]
    assert candidates("genlab sample last n") == ["n="]
    assert candidates("genlab sample outputs/vae-digits/now s") == [
        "scale=",
        "seed=",
        "solver=",
        "steps=",
    ]  # the model's own
    assert candidates("genlab sample outputs/vae-digits/now solver=h") == ["solver=heun"]
    assert candidates("genlab traverse last split=t") == ["split=test", "split=train"]
    assert {"csv=", "outputs/vae-digits/now"} <= set(candidates("genlab compare last "))
    assert "evaluator=objective" in candidates("genlab eval last evaluator=")
    assert "evaluator=[fid,prdc" in candidates("genlab eval last evaluator=[fid,")
    assert candidates("genlab eval last evaluator=[fid,kid] evaluator.kid.subset_") == ["evaluator.kid.subset_size="]
    assert candidates("genlab eval last evaluator.objective.b") == ["evaluator.objective.batch_size="]


def test_claims() -> None:
    assert candidates("genlab reproduce linear") == ["linear", "linear_ae_mnist"]
    assert candidates("genlab reproduce --all") == ["--all-cheap"]


def test_the_bench() -> None:
    assert candidates("genlab bench vae_c") == ["vae_conv64"]
    assert candidates("genlab bench dcgan64 ba") == ["batch="]
    assert candidates("genlab bench dcgan64 precision=b") == ["precision=bf16"]
    assert "model.beta=" in candidates("genlab bench vae_conv64 model.")


def test_flags_before_the_run() -> None:
    assert candidates("genlab resume --allow-change ") == ["last"]
    assert candidates("genlab eval --device cpu ") == ["last"]
    assert candidates("genlab eval --device=cpu ") == ["last"]
    assert candidates("genlab --debug sample --plugin mine ") == ["last"]
    assert candidates("genlab eval --device c") == ["cpu", "cuda"]
    assert candidates("genlab train --cfg ") == ["job"]
    assert candidates("genlab eval --device cpu last sp") == ["split="]
    assert candidates("genlab sample --p") == ["--plugin"]


@pytest.mark.parametrize("command", main.COMMANDS)
def test_every_flag_is_offered(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([command, "--help"]) == 0
    documented = set(re.findall(r"(?<![\w-])--[a-z-]+", capsys.readouterr().out.split("examples:")[0]))
    assert documented | {"--debug"} == set(candidates(f"genlab {command} --"))


def test_without_torch() -> None:
    code = (
        "import sys; from genlab.cli.completion import candidates; "
        "candidates('genlab eval --device cpu '); candidates('genlab train --'); "
        "candidates('genlab sample last '); sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(genlab.__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


def test_further_values() -> None:
    assert candidates("genlab train model=vae,au") == ["model=vae,autoencoder"]
    assert "model=vae,vae" not in candidates("genlab train -m model=vae,")
    assert candidates("genlab train evaluator=[objective,sam") == ["evaluator=[objective,samples"]
    assert candidates("genlab train trainer.precision=fp32,b") == ["trainer.precision=fp32,bf16"]


def test_the_rest() -> None:
    assert candidates("genlab list mod") == ["models"]
    assert candidates("genlab completion ") == ["bash", "fish", "zsh"]
    assert "--config-dir" in candidates("genlab train --c")
    assert candidates("genlab nonsense ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_valid(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "genlab __complete" in script
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    subprocess.run([shell, "-n"], input=script, text=True, check=True)


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_in_bash(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["completion", "bash"]) == 0
    script = capsys.readouterr().out.replace("genlab __complete", f"{sys.executable} -m genlab __complete")
    line = "genlab train model=ls"
    code = f"{script}\nCOMP_LINE='{line}'; COMP_POINT={len(line)}; _genlab; echo \"${{COMPREPLY[@]}}\""
    environment = {**os.environ, "PYTHONPATH": str(Path(genlab.__file__).parents[1])}
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "lsgan", done.stderr  # bash has 'model=' already
