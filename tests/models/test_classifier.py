"""A classifier on another model's code: its loss, what learns, and where its weights come from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

import genlab
from genlab.cli import main
from genlab.core.model import Model
from genlab.distributed.runtime import Runtime
from genlab.errors import ConfigError
from genlab.registry import MODELS
from genlab.workflows import warm_start
from tests.support.models import spec_of

SHAPE = (1, 8, 8)
BODY = {"name": "vae", "latent_dim": 3, "network": {"name": "mlp", "hidden": [7]}}
CONV = {"name": "autoencoder", "latent_dim": 3, "network": {"name": "conv", "channels": [4]}}


def built(body: dict[str, Any], classes: int | None = 4, **keys: Any) -> Any:
    spec = {"name": "classifier", "body": body, **keys}
    return MODELS.build(spec, "model", image_shape=SHAPE, num_classes=classes)


def test_the_loss_is_the_cross_entropy_and_the_accuracy_a_share() -> None:
    torch.manual_seed(0)
    model, image = built(BODY).eval(), torch.rand(5, *SHAPE)
    logits = model.head(model.body.posterior(image)[0])  # the mean code of the VAE
    label = logits.argmax(1)
    label[0] = (label[0] + 1) % 4
    said = model.loss(image, label)
    assert said["loss"].item() == pytest.approx(cross_entropy(logits, label).item())
    assert said["accuracy"].item() == pytest.approx(0.8)


def test_attributes_are_so_many_coins() -> None:
    torch.manual_seed(0)
    model, image = built(BODY).eval(), torch.rand(5, *SHAPE)
    label = (torch.rand(5, 4) > 0.5).float()
    p = model.logits(image).sigmoid()
    said = model.loss(image, label)
    expected = -(label * p.log() + (1 - label) * (1 - p).log()).sum(1).mean()
    assert said["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert said["accuracy"].item() == pytest.approx(((p > 0.5) == label.bool()).float().mean().item())


def moved(model: Model) -> set[str]:
    """The names of weights and statistics that a few training steps change."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        model.loss(torch.rand(8, *SHAPE), torch.arange(8) % 4)["loss"].backward()
        optimizer.step()
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


def test_fine_tuning_moves_the_encoder_and_not_the_decoder() -> None:
    names = moved(built(CONV))
    assert {"head.weight", "body.encoder.0.weight", "body.encoder.1.running_mean"} <= names
    assert not any(name.startswith("body.decoder") for name in names)
    model = built(CONV)
    assert all(p.requires_grad == (not name.startswith("body.decoder")) for name, p in model.named_parameters())


def test_a_body_with_a_frozen_network_of_its_own_is_fine_tuned_without_it() -> None:
    distance = {"name": "features", "network": {"name": "conv", "channels": [4]}, "outputs": 3, "layers": [0]}
    model = built({**BODY, "perceptual": {**distance, "weights": "unread.safetensors"}})
    learned = {name for name, p in model.named_parameters() if p.requires_grad}
    assert learned
    assert not any("perceptual" in name or "decoder" in name for name in learned)


def test_a_frozen_body_stands_still() -> None:
    assert moved(built(CONV, frozen=True)) == {"head.weight", "head.bias"}


def test_what_cannot_be_a_body() -> None:
    gan = spec_of("dcgan")
    with pytest.raises(ConfigError, match=r"'gan' does not learn a code without labels; key model.body"):
        MODELS.build({"name": "classifier", "body": gan}, "model", image_shape=(1, 32, 32), num_classes=4)
    with pytest.raises(ConfigError, match="'classifier' does not learn a code without labels"):
        built({"name": "classifier", "body": BODY})
    with pytest.raises(ConfigError, match="'classifier' needs labels"):
        built(BODY, classes=None)
    with pytest.raises(ConfigError, match=r"unknown key 'model.body.latent_dims'"):
        built({**BODY, "latent_dims": 3})


def test_all_ranks_take_the_run_that_rank_0_has_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`last` may be another run by the time that another rank looks."""
    monkeypatch.setattr(warm_start.run_folder, "find", lambda name: tmp_path / "newer")
    monkeypatch.setattr(warm_start, "read_stored", lambda path: {"model": {"of": path.name}})

    class Second(Runtime):
        def broadcast(self, value: Any) -> Any:
            return tmp_path / "found"

    runtime = Second(torch.device("cpu"))
    model = warm_start.settled({"model": {"name": "classifier", "init_from": "last"}}, runtime)["model"]
    assert (model["init_from"], model["body"]) == (str(tmp_path / "found"), {"of": "found"})


COMMON = ["trainer.batch_size=16", "evaluator=objective", "logger=jsonl", "recipe=null"]
SMALL = ["model.latent_dim=3", "model.network.hidden=[7]"]


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A VAE, trained for three steps."""
    run = tmp_path_factory.mktemp("body") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENLAB_CACHE", str(cache))
        genlab.train([*COMMON, *SMALL, "trainer.steps=3", f"hydra.run.dir={run}"])
    return run


def classified(body: Path, where: Path, *words: str) -> list[str]:
    return [
        "model=classifier",
        f"model.init_from={body}",
        *COMMON,
        "dataset.num_labels=20",
        f"hydra.run.dir={where}",
        *words,
    ]


def test_the_weights_of_a_run_are_where_a_frozen_classifier_ends(body: Path, tmp_path: Path) -> None:
    genlab.train(classified(body, tmp_path / "run", "model.frozen=true", "trainer.steps=2"))
    own, first = genlab.load(tmp_path / "run").state_dict(), genlab.load(body).state_dict()
    assert all(torch.equal(own[f"body.{name}"], value) for name, value in first.items())
    genlab.train(classified(body, tmp_path / "new", "model.frozen=true", "trainer.steps=2", "model.pretrained=false"))
    new = genlab.load(tmp_path / "new").state_dict()
    assert new.keys() == own.keys()
    assert not torch.equal(new["body.encoder.1.weight"], own["body.encoder.1.weight"])


def test_the_run_stands_alone(body: Path, tmp_path: Path) -> None:
    """Without the run that its weights came from it is opened, resumed, and gone on with by the first command."""
    gone = shutil.copytree(body, tmp_path / "gone")
    command = classified(gone, tmp_path / "run")
    whole = genlab.train(classified(body, tmp_path / "whole", "trainer.steps=6"))
    genlab.train([*command, "trainer.steps=4"])
    shutil.rmtree(gone)
    assert isinstance(genlab.load(tmp_path / "run"), Model)
    assert genlab.train([*command, "trainer.steps=6"]).run_dir == tmp_path / "run"
    a, b = genlab.load(tmp_path / "run").state_dict(), genlab.load(whole.run_dir).state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_validation_images_that_the_body_has_seen_are_warned_of(
    body: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    genlab.train(classified(body, tmp_path / "same", "trainer.steps=1"))
    assert "warning" not in capsys.readouterr().err
    genlab.train(classified(body, tmp_path / "run", "trainer.steps=1", "dataset.valid=0.2"))
    assert "the run was trained on 179 of the 359 validation images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["dataset.size=16"], 2, "the run was trained on images of 1x8x8, these are 1x16x16"),
        (["model.init_from=nowhere"], 2, "'nowhere' is not a run"),
        (["dataset.num_labels=3"], 2, "cannot take 3 labeled images"),
        (["dataset.split_seed=1"], 2, "of the 180 test images; key model.init_from, run"),
        (["dataset.test=0.3"], 2, "use the run's own splits: dataset.valid=0.1 dataset.test=0.1 dataset.split_seed=0"),
    ],
)
def test_what_does_not_fit_is_one_line_and_no_folder(
    body: Path, tmp_path: Path, words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = classified(body, tmp_path / "run", "trainer.steps=1", *words)
    assert main.main(["train", *command]) == code
    err = [line for line in capsys.readouterr().err.splitlines() if "decoding" not in line]
    assert len(err) == 1
    assert said in err[0]
    assert not (tmp_path / "run").exists()
