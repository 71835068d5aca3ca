"""What needs no trained run: rehearsals, info, prepare, doctor, options, what lies between two codes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from genlab.cli import load_command, main
from genlab.cli.images.interpolate import lerp, slerp
from genlab.cli.options import keywords
from genlab.errors import ConfigError
from genlab.registry import PositiveInt
from tests.support.commands import SMALL_VAE, said


def test_dry_run_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "parameters" in said(capsys, "train", "dry_run=true", *SMALL_VAE)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_counts_what_a_forward_derivative_holds(capsys: pytest.CaptureFixture[str]) -> None:
    network = "model.network={name: film_mlp, width: 16, layers: 1}"
    found = {}
    for model in ("flow_matching", "meanflow"):  # the second was a bug in genlab: its tensors had no storage
        table = said(capsys, "train", "dry_run=true", f"model={model}", network, "dataset=ring")
        [found[model]] = [line.split()[-2] for line in table.splitlines() if line.startswith("activations")]
    assert float(found["meanflow"]) > float(found["flow_matching"]) > 0


@pytest.mark.parametrize(
    ("choice", "texts"),
    [
        ("model=dcgan", ["Radford", "model.generator.base_channels", "64", "phase discriminator", "real_probability",
        "Samples"]),
        ("model=vae", ["Kingma", "model.latent_dim", "integer > 0", "bernoulli | gaussian",
        "logs loss, elbo, reconstruction, kl"]),
        ("dataset=celeba", ["Liu", "dataset.size", "error | skip"]),
        ("optimizer=adam_gan", ["optimizer.betas", "[0.5, 0.999]", "learning rate"]),
        ("evaluator=samples", ["evaluator.samples.n", "images in the grid"]),
        ("logger=default", ["logger.console.every"]),
    ],
)  # fmt: skip
def test_info(choice: str, texts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "info", choice)
    assert [text for text in texts if text not in out] == []


def test_prepare_builds_the_store_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENLAB_CACHE", str(tmp_path / "cache"))
    assert "digits is ready" in said(capsys, "prepare", "dataset=digits")
    built = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    said(capsys, "prepare", "dataset=digits")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")} == built
    assert any((tmp_path / "cache").rglob("*"))


def test_doctor_never_fails_and_fetches_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GENLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("the doctor went to the network"))
    monkeypatch.setattr("genlab.cli.machine.doctor._machine", lambda: 1 / 0)
    monkeypatch.setattr("genlab.registry.broken_plugins", {"theirs": "ImportError: gone"})
    out = said(capsys, "doctor")
    assert torch.__version__.split("+")[0] in out
    assert "broken           ZeroDivisionError" in out
    assert "digits           built in" in out
    assert "auto picks" in out
    seconds = {line.split()[0]: float(line.split()[-2]) for line in out.partition("first step\n")[2].splitlines()}
    assert seconds.keys() >= {"compose", "data", "build", "step"}
    assert not (tmp_path / "cache" / "data").exists()


def test_doctor_finds_real_data(
    real_data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genlab.workflows.first_step.measured", dict)
    assert f"mnist            found in {real_data}" in said(capsys, "doctor")


def test_lerp_and_slerp_against_closed_forms() -> None:
    start = torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [1.0, 2.0, 3.0], [1.0, 0.0, 0.0]])
    end = torch.tensor([[0.0, 1.0, 0.0], [0.0, 2.0, 0.0], [1.0, 2.0, 3.0], [-1.0, 0.0, 0.0]])
    line, arc = lerp(start, end, 5), slerp(start, end, 5)
    assert line.shape == arc.shape == (4, 5, 3)
    assert torch.equal(line[:, 0], start)
    assert torch.equal(line[:, -1], end)
    assert torch.allclose(line[0, 2], torch.tensor([0.5, 0.5, 0.0]))
    angles = torch.linspace(0, math.pi / 2, 5)
    circle = torch.stack([angles.cos(), angles.sin(), torch.zeros(5)], dim=1)
    assert torch.allclose(arc[0], circle, atol=1e-6)  # even steps along the circle
    assert torch.allclose(arc[1], 2 * circle, atol=1e-6)  # its radius kept
    assert torch.allclose(arc[2:], line[2:])  # the same or the opposite way: no circle to follow
    assert torch.isfinite(arc).all()


def test_key_value_options() -> None:
    def target(
        n: PositiveInt = 1, name: str = "", share: float = 0.5, on: bool = False, rest: int | None = 3
    ) -> None: ...

    given = ["n=3", "name=a=b", "share=2", "on=true", "rest=null"]
    assert keywords(target, given) == {"n": 3, "name": "a=b", "share": 2.0, "on": True, "rest": None}
    for bad in ("n=0", "n=1.5", "n", "=1", "m=1", "share=nan", "on=1", "n=99999999999999999999999"):
        with pytest.raises(ConfigError):
            keywords(target, [bad])


def test_plugins_and_the_device_are_the_same_flags_everywhere() -> None:
    for name in ("train", "resume", "sample", "eval", "bench"):
        parser = load_command(name).parser()
        given = parser.parse(["last", "--plugin", "one", "seed=3", "--device", "cpu", "--plugin", "two"])
        assert (given.plugin, given.device) == (["one", "two"], "cpu")
        for word, flag in {"plugins=[one]": "--plugin MODULE", "trainer.device=cpu": "--device DEVICE"}.items():
            with pytest.raises(ConfigError, match=f"write {flag}"):
                parser.parse(["last", word])


def test_info_shows_an_experiment_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["info", "experiment=vae_mnist"]) == 0
    assert "Paper:   Kingma & Welling 2014" in capsys.readouterr().out
    assert main.main(["info", "workload=dcgan6"]) == 2
    assert "did you mean 'dcgan64'?" in capsys.readouterr().err


def test_networks_are_listed_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    words = said(capsys, "list", "networks")
    assert all(name in words for name in ("dcgan_generator", "film_mlp", "unet"))
    assert "models" not in words
