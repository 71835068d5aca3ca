"""The wheel alone, in an empty folder: configurations, weights and type marker are in it, and it trains."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("hatchling", reason="the build backend is not installed")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds nothing but the unpacked wheel."""
    out = tmp_path_factory.mktemp("wheel")
    code = "import hatchling.build, sys; hatchling.build.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(out)], cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(out.glob("genlab-*.whl"))) as wheel:
        wheel.extractall(out / "target")
    return out / "target"


def genlab(target: Path, folder: Path, *words: str) -> str:
    """What the installed command prints, run in `folder` with the wheel first on the path."""
    code = (
        "import sys, genlab, importlib.metadata as m; assert genlab.__file__.startswith(sys.argv.pop(1)); "
        "sys.exit(m.entry_points(name='genlab')['genlab'].load()())"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(target), *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(target), "GENLAB_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_all_that_a_run_needs(target: Path) -> None:
    repository = {path.relative_to(ROOT / "configs") for path in (ROOT / "configs").rglob("*.yaml")}
    packed = target / "genlab" / "configs"
    assert {path.relative_to(packed) for path in packed.rglob("*.yaml")} == repository
    for name in ("py.typed", "reports/html_page.css", "evaluation/extractors/weights/mnist.safetensors",
                 "workflows/reproduce/claims/vae.yaml", "workflows/reproduce/ledger.json"):  # fmt: skip
        assert (target / "genlab" / name).is_file()
    assert {path.name.partition("-")[0] for path in target.iterdir()} == {"genlab"}  # no tests, no benchmarks


def test_the_wheel_alone_trains_and_samples_from_an_empty_folder(target: Path, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    assert genlab(target, folder, "--help").startswith("usage: genlab")
    assert "vae" in genlab(target, folder, "list", "models")
    genlab(target, folder, "train", "trainer.steps=2", "hydra.run.dir=run")
    genlab(target, folder, "sample", "run", "n=4", "out=samples.png")
    assert (folder / "samples.png").is_file()
