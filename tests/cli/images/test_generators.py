"""Verbs on generators: sample with truncation, walk, project; and the picture of mixed styles."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genlab.cli import main
from tests.support.commands import Refused

COMMON = ["trainer.steps=2", "trainer.batch_size=8", "evaluator=none", "logger=jsonl"]
STYLE = ["model=stylegan2", "model.latent_dim=8", "model.mapping_layers=1", "model.channel_base=64"]
GAN = ["model=dcgan", "model.generator.base_channels=4", "model.discriminator.base_channels=4", "model.latent_dim=8"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """outputs/ with a StyleGAN2 and a DCGAN of the digits, two steps each."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("generators")
        patch.chdir(root)
        patch.setenv("GENLAB_CACHE", str(cache))
        assert main.main(["train", *STYLE, *COMMON, "hydra.run.dir=outputs/style/a"]) == 0
        assert main.main(["train", *GAN, *COMMON, "hydra.run.dir=outputs/gan/b"]) == 0
    return root / "outputs"


@pytest.fixture(autouse=True)
def outputs(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    shutil.copytree(trained, tmp_path / "outputs")
    digit = np.zeros((8, 8), np.uint8)
    digit[2:6, 3:5] = 200
    Image.fromarray(digit).save(tmp_path / "one.png")
    capsys.readouterr()
    return tmp_path / "outputs"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main.main(arguments) == 0
    return capsys.readouterr().out.splitlines()


def test_truncation_makes_samples_alike(capsys: pytest.CaptureFixture[str], refused: Refused) -> None:
    spread = {}
    for truncation in (1.0, 0.0):
        [path] = said(capsys, "sample", "style/a", "n=20", f"truncation={truncation}", "out=x.npy")
        spread[truncation] = np.load(path).std(0).mean()
    assert spread[0.0] < spread[1.0]
    [path] = said(capsys, "sample", "style/a", "n=4", "truncation=0.5")
    assert path.endswith("truncation0.5.png")
    assert "unknown key 'truncation'" in refused("sample", "gan/b", "truncation=0.5")
    assert "truncation" in refused("sample", "style/a", "truncation=3")


@pytest.mark.parametrize("run", ["style/a", "gan/b"])
@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_a_walk_is_a_loop_of_frames(run: str, suffix: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = f"out={tmp_path / 'walk'}.{suffix}"
    [path] = said(capsys, "walk", run, "n=2", "stops=3", "steps=4", "fps=10", file)
    with Image.open(path) as film:
        assert film.n_frames == 12
        assert film.info["loop"] == 0
        frames = []
        for index in range(film.n_frames):
            film.seek(index)
            film.load()
            assert film.info["duration"] == 100
            frames.append(np.asarray(film.convert("L")).astype(float))
    steps = [np.abs(a - b).mean() for a, b in zip(frames, [*frames[1:], frames[0]], strict=True)]
    assert min(steps) > 0
    assert max(steps) < np.abs(frames[0] - frames[6]).mean() * 3  # the way back is no jump


def test_a_picture_is_projected_and_the_seed_decides(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = {}
    for space in ("z", "w", "w+"):
        for attempt in range(2):
            words = ["image=one.png", f"space={space}", "steps=60", f"out={tmp_path / f'p{attempt}.png'}"]
            line, path = said(capsys, "project", "style/a", *words)
            near = re.fullmatch(r"PSNR (-?\d+\.\d\d) dB; above: given, below: found", line)
            found[space, attempt] = float(near[1])  # type: ignore[index]
        assert (tmp_path / "p0.png").read_bytes() == (tmp_path / "p1.png").read_bytes()
    assert found["w+", 0] > found["w", 0]  # eight styles reach further than one
    with Image.open(path) as picture:
        assert picture.height > picture.width  # the picture above what was found
    line, _ = said(capsys, "project", "gan/b", "image=one.png", "steps=20")
    assert line.startswith("PSNR ")


def test_a_longer_search_comes_nearer(capsys: pytest.CaptureFixture[str]) -> None:
    near = [said(capsys, "project", "style/a", "image=one.png", f"steps={steps}")[0] for steps in (2, 100)]
    short, long = (float(line.split()[1]) for line in near)
    assert long > short + 1


@pytest.mark.parametrize(
    ("verb", "others"),
    [
        ("walk", [["n=2"], ["n=1", "stops=3"], ["n=1", "steps=3"], ["n=1", "fps=5"], ["n=1", "mode=lerp"]]),
        ("project", [["image=one.png", "seed=1"], ["image=two.png"], ["image=one.png", "rate=0.2"]]),
        ("sample", [["seed=1"], ["columns=3"], ["seed=1000001"], ["seed=1000002"]]),
        ("interpolate", [["n=3"], ["steps=4"], ["between=prior"]]),
    ],
)
def test_other_arguments_have_another_name(
    verb: str, others: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy("one.png", "two.png")
    usual = {"walk": ["n=1"], "project": ["image=one.png"]}.get(verb, [])
    quick = ["stops=2"] if verb == "walk" else ["steps=2"] if verb == "project" else []
    paths = [said(capsys, verb, "gan/b", *quick, *words)[-1] for words in (usual, usual, *others)]
    assert paths[0] == paths[1]  # what is drawn again is the same
    assert len(set(paths[1:])) == 1 + len(others)
    assert {Path(path).parent for path in paths} == {Path("outputs/gan/b/images")}


def test_what_cannot_be_walked_or_projected(refused: Refused) -> None:
    assert "has no styles" in refused("walk", "gan/b", "mode=style")
    assert "has no styles" in refused("project", "gan/b", "image=one.png", "space=w")
    assert "is not there" in refused("project", "gan/b", "image=nowhere.png", code=3)
    assert ".gif or .webp" in refused("walk", "gan/b", "out=walk.png")
    assert "'image'" in refused("project", "gan/b")


def test_points_are_not_projected(refused: Refused, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["train", "model=dirac", "dataset=dirac", *COMMON, "hydra.run.dir=outputs/points/c"]) == 0
    capsys.readouterr()
    assert "holds points" in refused("project", "points/c", "image=one.png")


def test_the_table_of_mixed_styles(capsys: pytest.CaptureFixture[str], refused: Refused) -> None:
    words = ["evaluator=style_mixing", "evaluator.style_mixing.rows=2", "evaluator.style_mixing.columns=3"]
    said(capsys, "eval", "style/a", *words)
    [path] = Path("outputs/style/a/eval").glob("style_mixing-columns3-rows2-*-style_mixing.png")
    with Image.open(path) as picture:
        assert picture.size == (2 + 4 * 66, 2 + 3 * 66)
        assert np.asarray(picture)[2:66, 2:66].min() == 255  # nothing stands in the corner
    said(capsys, "eval", "style/a", *words, "evaluator.style_mixing.coarse=1", "name=all")
    [path] = Path("outputs/style/a/eval").glob("all-*-style_mixing.png")
    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    left, first = pixels[68:132, 2:66], pixels[68:132, 68:132]
    assert np.array_equal(left, first)  # every layer has the row's style
    assert "does not apply" in refused("eval", "gan/b", "evaluator=style_mixing")


def test_figures_of_truncated_samples_say_so(capsys: pytest.CaptureFixture[str], refused: Refused) -> None:
    words = ["evaluator=prdc", *(f"evaluator.prdc.{each}" for each in ("extractor=pixels", "images=60", "k=3"))]
    said(capsys, "eval", "style/a", *words, "evaluator.prdc.sampling.truncation=0.5", "name=prdc_t05")
    [path] = Path("outputs/style/a/eval").glob("prdc_t05-test-*.json")
    protocol = json.loads(path.read_text())["protocol"]
    assert protocol["sampling"] == {"truncation": 0.5}
    assert "unknown key 'evaluator.prdc.sampling.truncation'" in refused(
        "eval", "gan/b", *words, "evaluator.prdc.sampling.truncation=0.5"
    )
