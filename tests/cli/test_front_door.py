"""What a visitor of the repository meets: license, citation, checks before a commit, links, examples that run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

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
