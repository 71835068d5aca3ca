"""Hostile configurations: refused by every door, with nothing executed and nothing left behind."""

from __future__ import annotations

import itertools
import os
import resource
import time
from pathlib import Path

import pytest

from genlab.config import compose
from genlab.errors import ConfigError
from tests.support.commands import Refused

GROUPS = ("model", "dataset", "optimizer", "schedule", "trainer", "checkpoint", "evaluator", "logger",
    "evaluator.samples",
          "model.network", "optimizer.phases", "optimizer.phases.model")  # fmt: skip
TARGETS = ("os.system", "logging.os.system", "posix.system", "builtins.eval", "torch.load", "pathlib.Path.write_text")
WORDS = ("_target_", "_partial_", "_recursive_", "_convert_", "_args_")
HYDRA = [
    "hydra.launcher=x", "hydra/launcher=joblib", "hydra/launcher=submitit_local", "hydra/sweeper=optuna",
    "hydra/sweeper=null",
    "+hydra/sweeper=basic", "hydra.sweeper.params={seed:1}", "+hydra.callbacks.x._target_=os.system",
    "hydra.callbacks={x:{a:1}}",
    "+hydra/callbacks=x", "hydra.searchpath=[file:///tmp]", "+hydra.searchpath=[pkg://os]", "hydra.job.name=x",
    "hydra.job.chdir=true", "+hydra.job.env_set.PATH=/tmp", "hydra.job.env_copy=[HOME]", "hydra.output_subdir=x",
    "hydra/job_logging=none", "hydra.job_logging.handlers={}", "hydra/hydra_logging=none", "hydra/help=x",
    "hydra/output=x",
    "hydra.run=x", "hydra.run.dirs=x", "+hydra.run.dir=x", "++hydra.run.dir=x", "~hydra.run.dir", "hydra.mode=MULTIRUN",
    "hydra.runtime.cwd=/tmp", "hydra.sweep.subdir=x", "hydra=x", "+hydra=x", "hydra.x=1", "~hydra", "~hydra.launcher",
    "hydra.verbose.x=1",
    "model@hydra.launcher=vae", "+model@hydra.callbacks.x=vae", "dataset@_global_=digits",
]  # fmt: skip
FOLDERS = [
    "../x", "../../x", "a/../../x", "''", "-rf", "a/-rf", "'a\nb'", "'a\tb'", "'\x7f'", "a\x00b", "x" * 300, "'‮x'",
    "'a\u2028b'",
    "${oc.env:HOME}/x", "null", "[a]",
]  # fmt: skip
RESOLVERS = [
    "${oc.env:TOKEN}", "${oc.env:TOKEN,none}", "${ oc.env : TOKEN }", "x${oc.env:TOKEN}y", "${oc.decode:'1'}",
    "${oc.create:{}}",
    "${oc.deprecated:seed}", "${oc.dict.keys:model}", "${oc.dict.values:model}", "${python_version:major}",
    "${hydra:job.name}",
    "${hydra:runtime.cwd}", "${hydra.job.name}", "${now:${oc.env:TOKEN}}", "${oc.select:${oc.env:TOKEN}}",
    "${${oc.env:TOKEN}}",
    "${oc.select:x,${oc.env:TOKEN}}", "${oc.${model.name}:TOKEN}", "$${oc.env:TOKEN}", "\\\\${oc.env:TOKEN}",
    "${oc.env:TOKEN",
    "${eval:1}", "${model[${oc.env:TOKEN}]}", "${${now:%Y}oc.env:TOKEN}",
]  # fmt: skip


@pytest.mark.parametrize(("group", "target"), list(itertools.product(GROUPS, TARGETS)))
def test_no_target_on_the_command_line(group: str, target: str, refused: Refused) -> None:
    assert "'_target_' is refused" in refused("train", f"+{group}._target_={target}")


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("text", ["+{}=1", "++{}=1", "{}=1", "model.{}=1", "+model={{{}:os.system}}",
"+x={{a:{{b:{{{}:1}}}}}}",
                                  "optimizer.betas=[{{{}:1}}]", "+x=[[{{{}:1}}]]", "model@{}=vae", "~model.{}",
                                  "seed=[{{{}:1}}],2"])  # fmt: skip
def test_no_reserved_key_anywhere(word: str, text: str, refused: Refused) -> None:
    assert f"'{word}' is refused" in refused("train", text.format(word))


@pytest.mark.parametrize("override", HYDRA)
def test_hydra_is_not_for_users(override: str, refused: Refused) -> None:
    assert "refused" in (line := refused("train", override)) or "not supported" in line
    refused("train", "-m", override, "seed=1,2")


@pytest.mark.parametrize("name", FOLDERS, ids=lambda name: repr(name[:20]))
def test_bad_run_folders(name: str, refused: Refused) -> None:
    refused("train", f"hydra.run.dir={name}")
    refused("train", "-m", f"hydra.sweep.dir={name}", "seed=1,2")


def test_allowed_hydra_keys(tmp_path: Path) -> None:
    composed = compose.compose(["hydra.run.dir=runs/mine", "hydra.sweep.dir=sweeps/mine", "hydra.verbose=true",
                               "hydra/launcher=basic", "hydra/sweeper=basic"])  # fmt: skip
    assert composed.run_dir == Path("runs/mine")
    assert composed.sweep_dir == Path("sweeps/mine")
    assert compose.compose([f"hydra.run.dir={tmp_path}/x"]).run_dir == tmp_path / "x"
    assert compose.compose([]).run_dir is None


@pytest.mark.parametrize("text", RESOLVERS)
def test_a_secret_cannot_be_read(text: str, refused: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    folder = tmp_path / "mine" / "model"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(f"defaults: [vae]\nnote: '{text}'\n")
    for override in (f"dataset.root={text}", f"dataset.root='{text}'", f"+x={{a:'{text}'}}", f"hydra.run.dir='{text}'"):
        assert "hunter2" not in refused("train", override)
    assert "hunter2" not in refused("train", "--config-dir", str(tmp_path / "mine"), "model=mine")


def test_pieces_do_not_add_up_to_a_resolver(monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    try:
        composed = compose.compose(["+a='$'", "+b='{oc.env:TOKEN}'", "dataset.root='${a}${b}'"])
    except ConfigError:
        return
    assert "hunter2" not in str(composed)


def test_plain_interpolations_work() -> None:
    composed = compose.compose(["dataset.root=/data/${model.name}-${seed}", "seed=${trainer.log_every}",
                               "trainer.log_every=7",
                               "hydra.run.dir='out/${hydra:runtime.choices.model}'"])  # fmt: skip
    assert composed.config["dataset"]["root"] == "/data/vae-7"
    assert composed.run_dir == Path("out/vae")


BAD_FILES = {
    "hydra: {launcher: {a: 1}}": "hydra.launcher.a",
    "hydra: {run: {dir: x}, callbacks: {x: 1}}": "hydra.callbacks",
    "hydra: null": "hydra",
    "hydra.launcher: 1": "hydra.launcher",
    "hydra: {searchpath: ['file:///tmp']}": "hydra.searchpath",
    "# @package hydra.launcher\na: 1": "package",
    "#@package hydra\na: 1": "package",
    "defaults: [override /hydra/launcher: x]": "defaults",
    "defaults: ['/hydra/callbacks@x: y']": "defaults",
    "defaults: [{'/model@hydra.callbacks.x': vae}]": "defaults",
    "defaults: [../../outside]": "leads out",
    "defaults: [{/model: ../../outside}]": "leads out",
    "_target_: os.system": "_target_",
    "a: {b: [{c: {_target_: os.system}}]}": "_target_",
    "'_target_': os.system": "_target_",
    "! '_target_': os.system": "_target_",
    '"\\x5ftarget_": os.system': "_target_",
    "plugins: [os]": "plugins",
    "plugins:\n  - os": "plugins",
    "a: !!python/object/apply:os.system ['touch canary']": "python",
    "a: !!python/name:os.system": "python",
    "a: !mine x": "tag",
    "a: !!binary aGVsbG8=": "tag",
    "a: &x 1\nb: *x": "alias",
    "a: &x {b: 1}\nc:\n  <<: *x": "alias",
    "- a\n- b": "key: value",
    "just text": "key: value",
    "42": "key: value",
    "a: [1": "YAML",
    "a: 1\n b: 2": "YAML",
    "a: 1\n---\nb: 2": "YAML",
    "\ta: 1": "YAML",
    "{a: 1}: 2": "key",
    "? [1, 2]\n: 3": "key",
    "a: 1\na: 2": "duplicate",
    "a: " + "[" * 100 + "]" * 100: "nested",
    "a: " + "[" * 400_000: "nested",
    "a: [" + "1," * 20_000 + "1]": "too many",
    "a: " + "x" * 5000: "limit",
}
BINARY = {
    "nul": b"a: \x00",
    "latin-1": "a: é".encode("latin-1"),
    "utf-16": "a: 1".encode("utf-16"),
    "png": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40,
    "elf": Path("/bin/sh").read_bytes()[:100_000],
    "zeros": bytes(500_000),
    "2 MB": b"# comment\n" * 200_000,
    "50 MB": b"a: b\n" * 10_000_000,
    "laughs": b"a0: &a0 [x,x,x]\n"
    + b"".join(b"a%d: &a%d [*a%d,*a%d,*a%d]\n" % (i, i, i - 1, i - 1, i - 1) for i in range(1, 40)),
}


@pytest.mark.parametrize("content", BAD_FILES, ids=lambda text: text[:40].replace("\n", "|"))
def test_bad_files(content: str, refused: Refused, tmp_path: Path) -> None:
    _file(tmp_path, content.encode())
    began = time.process_time()
    line = refused("train", "--config-dir", "mine", "model=mine")
    assert BAD_FILES[content] in line
    assert "mine.yaml" in line
    assert time.process_time() - began < 2
    assert not (tmp_path / "canary").exists()


WRONG_FILES = {  # well-formed, but wrong: seen when composed or checked
    "a: .nan": "not finite",
    "a: [.inf]": "not finite",
    "1: 2": "not text",
    "a: ???": "missing value for 'model.a'",
    "a: ${nowhere}": "bad interpolation",
    "name: nope": "unknown model 'nope'",
    "latent_dimm: 3": "did you mean 'latent_dim'?",
    "latent_dim: many": "'model.latent_dim'",
    "latent_dim: -1": "'model.latent_dim'",
    "beta: 1e-x": "'model.beta'",
    "network: {name: mlp, hiden: [3]}": "hiden",
}
WRONG_DEFAULTS = {
    "defaults: [nope]": "nope",
    "defaults: 3": "cannot be composed",
    "defaults: [mine]": "cannot be composed",
    "defaults: [vae, {override /dataset: nope}]": "cannot be composed",
    "defaults: [vae, {/dataset: mnist}]": "dataset",
    "# @package _global_\nfoo: 1": "unknown key 'foo'",
}


@pytest.mark.parametrize("content", WRONG_FILES)
def test_wrong_files(content: str, refused: Refused, tmp_path: Path) -> None:
    _file(tmp_path, f"defaults: [vae]\n{content}\n".encode())
    assert WRONG_FILES[content] in refused("train", "--config-dir", "mine", "model=mine")


@pytest.mark.parametrize("content", WRONG_DEFAULTS)
def test_wrong_defaults(content: str, refused: Refused, tmp_path: Path) -> None:
    _file(tmp_path, content.encode())
    assert WRONG_DEFAULTS[content] in refused("train", "--config-dir", "mine", "model=mine")


@pytest.mark.parametrize("name", BINARY)
def test_binary_and_large_files(name: str, refused: Refused, tmp_path: Path) -> None:
    _file(tmp_path, BINARY[name])
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "mine.yaml" in refused("train", "--config-dir", "mine", "model=mine")
    assert time.process_time() - began < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_a_file_that_is_not_read_is_checked_too(refused: Refused, tmp_path: Path) -> None:
    _file(tmp_path, b"_target_: os.system")
    assert "_target_" in refused("train", "--config-dir", "mine", "seed=1")


def test_a_private_file_cannot_stand_in_for_ours(refused: Refused, tmp_path: Path) -> None:
    for name in ("model/vae.yaml", "train.yaml"):
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a: 1\n")
        assert "another name" in refused("train", "--config-dir", "mine")
        path.unlink()


def test_a_folder_that_is_too_large_or_leads_out(refused: Refused, tmp_path: Path) -> None:
    _file(tmp_path, b"defaults: [vae]")
    (tmp_path / "large").mkdir()
    for number in range(1001):
        (tmp_path / "large" / str(number)).touch()
    assert "more than 1000 files" in refused("train", "--config-dir", "large")
    (tmp_path / "mine" / "model" / "link").symlink_to("/")
    assert "is a link" in refused("train", "--config-dir", "mine")


def test_a_private_hydra_group_is_refused(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "mine" / "hydra" / "callbacks" / "x.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("a: 1\n")
    assert "group hydra" in refused("train", "--config-dir", "mine")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_does_not_hang(refused: Refused, tmp_path: Path) -> None:
    _file(tmp_path, b"")
    path = tmp_path / "mine" / "model" / "mine.yaml"
    path.unlink()
    os.mkfifo(path)
    assert "not a regular file" in refused("train", "--config-dir", "mine")


def test_plugins_only_from_the_command_line(refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _file(tmp_path, b"# @package _global_\nplugins: ${mine}\nmine: [os]\n")
    assert "plugins" in refused("train", "--config-dir", "mine", "+model@_global_=mine")


def _file(folder: Path, content: bytes) -> None:
    (folder / "mine" / "model").mkdir(parents=True, exist_ok=True)
    (folder / "mine" / "model" / "mine.yaml").write_bytes(content)
