"""What a visitor of the repository meets: license, citation, checks before a commit, links, examples that run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

import genlab

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "name",
    ["LICENSE", "CITATION.cff", "SECURITY.md", "genlab/py.typed", "mkdocs.yml", ".github/workflows/test.yml"],
)
def test_the_repository_has_what_its_visitors_look_for(name: str) -> None:
    assert (ROOT / name).is_file()


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert (citation["version"], citation["license"]) == (genlab.__version__, "Apache-2.0")


def test_the_hooks_run_the_commands_of_make_check() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"][0]["hooks"]
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert recipe is not None
    assert [hook["entry"] for hook in hooks] == [
        line.strip().removeprefix("$(BIN)/") for line in recipe[1].splitlines()
    ]


def check_links(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "check_links.py"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True)


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# A title\n[good](#a-title) [page](docs/page.md#it-is)\n[bad](docs/none.md)\n")
    (tmp_path / "docs" / "page.md").write_text(
        "# It is\n[up](../README.md) [bad](../README.md#none) [web](https://a.b/c)\n"
    )
    done = check_links(tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "README.md:3: broken link docs/none.md",
        "docs/page.md:2: broken link ../README.md#none",
    ]


def test_the_documentation_has_no_broken_link() -> None:
    assert check_links(ROOT).returncode == 0, check_links(ROOT).stdout


def block(page: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", (ROOT / "docs" / page).read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_examples_of_the_adding_pages_train(tmp_path: Path) -> None:
    """An evaluator, a network and a logger as the pages write them, as outside code, together in one run."""
    pages = {"adding-an-evaluator.md": ("brightness", "evaluator/brightness"),
             "adding-a-network.md": ("highway", "model/highway_vae"),
             "adding-a-logger.md": ("csv_logger", "logger/csv")}  # fmt: skip
    for page, (module, config) in pages.items():
        (tmp_path / f"{module}.py").write_text(block(page, "python"))
        path = tmp_path / "mine" / f"{config}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block(page, "yaml"))
    code = "import sys; sys.path[:0] = sys.argv.pop(1).split(':'); from genlab.cli.main import main; sys.exit(main())"
    plugins = [word for module, _ in pages.values() for word in ("--plugin", module)]
    words = ["train", "--config-dir", "mine", *plugins, "model=highway_vae",
             "evaluator=brightness", "logger=[jsonl,csv]", "trainer.steps=3", "trainer.log_every=1",
             "--device", "cpu", "hydra.run.dir=run"]  # fmt: skip
    command = [sys.executable, "-c", code, f"{tmp_path}:{ROOT}", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split(",") for line in (tmp_path / "run" / "metrics.csv").read_text().splitlines()]
    assert {"loss", "elbo"} <= {name for step, split, name, value in rows if (step, split) == ("3", "train")}
    assert ["3", "valid", "brightness"] in [row[:3] for row in rows]
    words = ["eval", "run", *plugins, "evaluator=brightness", "evaluator.brightness.images=50", "--device", "cpu"]
    done = subprocess.run([*command[:4], *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "run" / "eval" / "brightness-test-images50-00000003.json"
    protocol = json.loads(path.read_text())["protocol"]
    assert (protocol["images"], protocol["evaluator"]) == (50, "brightness")


def test_the_examples_of_adding_a_data_set_train(tmp_path: Path) -> None:
    """The plug-in function and the class with a table of labels, each from its files alone."""
    page = (ROOT / "docs" / "adding-a-dataset.md").read_text("utf-8")
    code, configs = (re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL) for language in ("python", "yaml"))
    names = ("fake", "csv_images")
    (tmp_path / "mine" / "dataset").mkdir(parents=True)
    for name, module, config in zip(names, code, configs, strict=True):
        (tmp_path / f"{name}.py").write_text(module)
        (tmp_path / "mine" / "dataset" / f"{name}.yaml").write_text(config)
    (tmp_path / "images").mkdir()
    for i in range(20):
        Image.new("RGB", (20, 24), (10 * i, 0, 99)).save(tmp_path / "images" / f"{i}.png")
    (tmp_path / "labels.csv").write_text("".join(f"{i}.png,{'cat' if i % 2 else 'dog'}\n" for i in range(20)))
    start = "import sys; sys.path[:0] = sys.argv.pop(1).split(':'); from genlab.cli.main import main; sys.exit(main())"
    for name, more in zip(names, (["dataset.n=20"], ["dataset.root=.", "dataset.size=16"]), strict=True):
        words = ["train", "--config-dir", "mine", "--plugin", name, f"dataset={name}", *more, "model=vae",
                 "trainer.steps=2", "trainer.batch_size=8", "evaluator=none", f"hydra.run.dir={name}"]  # fmt: skip
        done = subprocess.run([sys.executable, "-c", start, f"{tmp_path}:{ROOT}", *words], cwd=tmp_path,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert (tmp_path / name / "report.html").is_file()
