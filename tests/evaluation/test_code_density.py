"""A mixture of Gaussians fitted to codes: its samples have the weights, means and covariances of the codes."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import mixture
from torch import Tensor, nn

import genlab
from genlab.cli import main
from genlab.cli.images import sample
from genlab.core import rng
from genlab.evaluation.code_density import fitted
from tests.support.commands import Refused


class Identity(nn.Module):
    def decode(self, code: Tensor) -> Tensor:
        return code


def two_clouds(n: int) -> Tensor:
    """A third of the codes around (5, 0) with correlated numbers, the others around (-3, 1)."""
    torch.manual_seed(0)
    z = torch.randn(n, 2)
    first = z @ torch.tensor([[1.0, 0.9], [0.0, 0.4]]) + torch.tensor([5.0, 0.0])
    second = 0.5 * z + torch.tensor([-3.0, 1.0])
    return torch.where((torch.arange(n) % 3 == 0)[:, None], first, second)


@pytest.mark.parametrize("components", [1, 2])
def test_samples_have_the_moments_of_the_codes(components: int) -> None:
    codes = two_clouds(6000)
    rng.seed(0)
    drawn = fitted(Identity(), codes, components, seed=0).sample(20_000)
    torch.testing.assert_close(drawn.mean(0), codes.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), codes.T.cov(), atol=0.3, rtol=0.03)
    between = ((drawn[:, 0] > 0) & (drawn[:, 0] < 1.5)).float().mean()
    assert (between < 0.01) == (components == 2)  # the gap between the clouds
    if components == 2:
        right = drawn[drawn[:, 0] > 1]
        assert len(right) / 20_000 == pytest.approx(1 / 3, abs=0.02)
        torch.testing.assert_close(right.T.cov(), codes[codes[:, 0] > 1].T.cov(), atol=0.1, rtol=0.05)


@pytest.mark.usefixtures("fresh")
def test_an_autoencoder_is_sampled_through_its_codes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = str(tmp_path / "run")
    small = ["model=autoencoder", "model.latent_dim=3", "model.network.hidden=[8]", "trainer.steps=5", "evaluator=none"]
    genlab.train([*small, "logger=quiet", f"hydra.run.dir={run}"])
    capsys.readouterr()
    assert "add codes=gaussian or codes=mixture" in refused("sample", run)
    held = []
    for words in (["codes=gaussian"], ["codes=mixture", "components=2"], ["codes=mixture", "components=2"]):
        assert main.main(["sample", run, "n=6", *words, f"out={tmp_path / 'x.npy'}"]) == 0
        held.append(np.load(tmp_path / "x.npy"))
    capsys.readouterr()
    assert held[0].shape == (6, 1, 8, 8)
    assert np.array_equal(held[1], held[2])
    assert not np.array_equal(held[0], held[1])
    monkeypatch.setattr(sample, "MOST_DIMENSIONS", 2)
    assert "codes of 3 dimensions are too large" in refused("sample", run, "codes=mixture")
    monkeypatch.undo()
    assert "components need more" in refused("sample", run, "codes=mixture", "components=9000")


@pytest.mark.filterwarnings("error")
def test_a_fit_that_stops_early_says_so_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixture, "GaussianMixture", functools.partial(mixture.GaussianMixture, max_iter=2))
    torch.manual_seed(0)
    fitted(Identity(), torch.rand(300, 6), 10, seed=0)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("genlab: the mixture still changed after 2 iterations of EM")


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("name", ["cvae", "vqvae"])
def test_codes_with_labels_or_from_a_codebook_are_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], refused: Refused
) -> None:
    run = str(tmp_path / "run")
    genlab.train([f"model={name}", "trainer.steps=2", "evaluator=none", "logger=quiet", f"hydra.run.dir={run}"])
    capsys.readouterr()
    assert f"Gaussians do not fit the codes of model '{name}'" in refused("sample", run, "codes=mixture")
