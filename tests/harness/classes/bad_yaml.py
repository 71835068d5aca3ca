"""Mutated copies of genlab's own configuration files, in a folder of --config-dir."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import yaml

from tests.harness import odd
from tests.harness.endings import ending
from tests.harness.fault_class import Case, FaultClass
from tests.support.models import CONFIGS

PER_TRIAL = 20
ALLOWED = (0, 2, 3, 5, 6)
SMALL = ["trainer.batch_size=8", "trainer.steps=1", "trainer.epochs=null", "evaluator=none", "dry_run=true"]
GROUPS = [
    "model",
    "model",
    "model",
    "dataset",
    "optimizer",
    "schedule",
    "trainer",
    "evaluator",
    "logger",
    "experiment",
    "recipe",
    "debug",
]
BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
TEXTS = [BOMB, "", "- 1\n", "x\n", "null\n", "{", "a: !!python/object/apply:os.system [touch canary]\n",
    "a: 1\na: 2\n", "<<: {a: 1}\n", "? [1]\n: 2\n",
         "1: 2\n", "a: " + "[" * 400, "name: vae\n---\nname: gan\n", "%YAML 9.9\n---\nname: vae\n",
         "# @package hydra\nrun: {dir: x}\n", "defaults: 1\n",
         "defaults: [nothing]\n", "defaults: [/hydra: x]\n", "defaults: [../x]\n", "defaults: [vae]\n",
         "defaults: [mine]\n", "defaults: [{a: {b: c}}]\n",
         "hydra: {run: {dir: x}}\n", "plugins: [os]\n", "name: !!binary aGVsbG8=\n", "a: 2026-01-01\n", "a: 1e400\n",
         "a: .nan\n"]  # fmt: skip


def content(rng: random.Random, original: Path) -> bytes:
    """What stands in the file: a changed tree, damaged text, or hostile text before or after the right one."""
    data = original.read_bytes()
    match rng.randrange(6):
        case 0 | 1 | 2:
            tree = yaml.safe_load(data) or {}
            if isinstance(tree, dict) and "defaults" in tree and rng.random() < 0.7:
                tree = {"defaults": tree["defaults"], **tree}
            header = b"# @package _global_\n" if b"_global_" in data and rng.random() < 0.9 else b""
            return header + _dumped(odd.changed(rng, tree), rng.random() < 0.5).encode(errors="replace")
        case 3:
            return odd.damaged(rng, data)
        case 4:
            return rng.choice([data, b""]) + rng.choice(TEXTS).encode()
        case _:
            lines = data.splitlines(keepends=True) or [b"\n"]
            lines[rng.randrange(len(lines))] = rng.choice(
                [b"", odd.word(rng).encode(errors="replace") + b"\n", rng.choice(lines), b"  " + rng.choice(lines)]
            )
            return b"".join(lines)


def _dumped(tree: object, allow_unicode: bool) -> str:
    """As YAML; a tree of several hundred levels needs more frames than Python allows at first."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10 * limit)
    try:
        return yaml.safe_dump(tree, sort_keys=False, allow_unicode=allow_unicode)
    finally:
        sys.setrecursionlimit(limit)


def trial(case: Case) -> str | None:
    """Several files, each chosen by its name: each command ends with a documented code and one line."""
    rng = case.rng
    for number in range(PER_TRIAL):
        group = rng.choice(GROUPS)
        original = rng.choice(sorted((CONFIGS / group).glob("*.yaml")))
        file = case.folder / f"{number}/{group}/mine.yaml"
        file.parent.mkdir(parents=True)
        file.write_bytes(content(rng, original))
        command = rng.choice(["train"] * 6 + ["info", "list"])
        words = {"train": [f"{rng.choice(['', '+'])}{group}=mine", *([] if group == "model" else ["model=vae"]),
            *SMALL],
                 "info": [f"{group}=mine"], "list": []}[command]  # fmt: skip
        words = [command, "--config-dir", str(number), *words]
        wrong = ending(words, case.folder).wrong(ALLOWED)
        if wrong or (case.folder / "canary").exists():
            return f"genlab {words!r} with {original.name} as {file.read_bytes()[:2000]!r}: {wrong}"
    return None


FAULTS = [FaultClass("bad_yaml", "mutated configuration files: code 2 to 6, one line", 2000, trial, PER_TRIAL, 1)]
