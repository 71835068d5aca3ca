"""Fuzzed command lines over every command."""

from __future__ import annotations

import random
from pathlib import Path

from genlab.cli import COMMANDS
from genlab.config.compose import compose
from genlab.config.overrides import flatten
from genlab.errors import ConfigError
from tests.harness import odd, trained
from tests.harness.endings import ending
from tests.harness.fault_class import Case, FaultClass
from tests.support.models import CONFIGS, PRESETS

PER_TRIAL = 20
ALLOWED = (0, 2, 3, 4, 5, 6)
GROUPS = {path.name: sorted(file.stem for file in path.glob("*.yaml")) for path in CONFIGS.iterdir() if path.is_dir()}
FLAGS = ["--config-dir", "--plugin", "--device", "--allow-change", "--cfg", "--jobs", "-m", "--help", "--root"]
# keys whose huge values are valid and slow, not wrong
SLOW = ("trainer.steps", "trainer.epochs", "trainer.devices", "checkpoint.every", "optimizer.lr_power")
LAST = ["trainer.steps=1", "trainer.epochs=null", "evaluator=none"]
KEYS = ["n", "seed", "out", "split", "columns", "image", "input", "folder", "steps", "stops", "fps", "mode", "rate",
    "space", "attribute",
        "strength", "images", "dimensions", "reach", "between", "score", "quantile", "box", "sigma", "direction",
        "evaluator",
        "evaluator.fid.images", "evaluator.objective.every", "name", "label", "truncation"]  # fmt: skip


def line(rng: random.Random, run: Path) -> list[str]:
    """One fuzzed command line."""
    command = rng.choice(["train", "train", "train", *COMMANDS, odd.word(rng, rng.choice(list(COMMANDS)))])
    if command == "train":
        words = train(rng)
    elif command in ("prepare", "bench", "info", "list"):
        words = described(rng)
    else:
        words = of_a_run(rng, run)
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        words.insert(
            rng.randrange(len(words) + 1), rng.choice([odd.noise(rng), rng.choice(FLAGS), odd.word(rng, "--device")])
        )
    return ["train", *words, *LAST] if command == "train" else [command, *words]


def train(rng: random.Random) -> list[str]:
    """Overrides for a small model, some of them odd; a dry run, most of the time."""
    base = [
        ["model=vae", "model.network.hidden=[8]"],
        [f"model={rng.choice(PRESETS)}"],
        [f"experiment={rng.choice(GROUPS['experiment'])}"],
    ]
    words = [*rng.choices(base, [10, 9, 1])[0], "trainer.batch_size=8"]
    try:
        known = flatten(compose(words).config)
    except ConfigError:
        known = {}
    keys = [key for key in known if not key.startswith(SLOW)] or ["seed"]
    odds = [lambda: override(rng, keys, known), lambda: group(rng), lambda: hydra(rng)]
    made = [rng.choices(odds, [6, 2, 1])[0]() for _ in range(rng.choice([1, 1, 2, 3]))]
    return [*words, *(["dry_run=true"] if rng.random() < 0.9 else ["logger=jsonl"]), *made]


def override(rng: random.Random, keys: list[str], known: dict[str, object]) -> str:
    key = rng.choice(keys)
    value = odd.word(rng, str(known.get(key)))
    if rng.random() < 0.25:
        key = odd.misspelled(rng, key)
    if rng.random() < 0.1:
        key = f"{key}.{rng.choice(['name', 'x', '_target_', '0', odd.noise(rng, 5)])}"
    quoted = rng.choice([value] * 6 + [f"'{value}'", f'"{value}"', f"[{value}]", f"{{name:{value}}}"])
    before, equals = rng.choice(["", "", "", "", "+", "++", "~", "@"]), rng.choice(["="] * 5 + ["==", " = ", ":", ""])
    return f"{before}{key}{equals}{quoted}"


def group(rng: random.Random) -> str:
    name = rng.choice(list(GROUPS))
    option = rng.choice([rng.choice(GROUPS[name]), odd.misspelled(rng, rng.choice(GROUPS[name])), odd.word(rng, name)])
    return f"{rng.choice(['', '', '+', '~', '/'])}{name}{rng.choice(['', '', '', '@x', '@_global_', '/x'])}={option}"


def hydra(rng: random.Random) -> str:
    key = rng.choice(
        [
            "run.dir",
            "sweep.dir",
            "verbose",
            "callbacks",
            "launcher",
            "searchpath",
            "job_logging",
            "job.env_set",
            "output_subdir",
        ]
    )
    return f"hydra{rng.choice('./')}{key}={odd.word(rng, 'a/b')}"


def described(rng: random.Random) -> list[str]:
    name = rng.choice(list(GROUPS))
    options = [f"{name}={rng.choice(GROUPS[name])}", name, group(rng), odd.word(rng, name), "vae_mlp_mnist", "models"]
    return ["dataset=digits", *rng.choices(options, k=rng.choice([0, 1, 2]))][rng.choice([0, 1]) :]


def of_a_run(rng: random.Random, run: Path) -> list[str]:
    path = rng.choice(
        [str(run)] * 6 + ["last", "run", f"{run}/ckpt", f"{run}/config.yaml", odd.word(rng, str(run)), "photos"]
    )
    right = ["3", "photos/0.png", "photos", "a.png", "test", "[objective,samples]", "lerp"]
    keys = [
        rng.choice([*KEYS, "trainer.steps", "optimizer.lr", odd.misspelled(rng, rng.choice(KEYS))])
        for _ in range(rng.choice([0, 1, 1, 2, 3]))
    ]
    return [path, *(f"{key}={rng.choice([odd.word(rng), rng.choice(right)])}" for key in keys)]


def trial(case: Case) -> str | None:
    """Several command lines in one folder: each ends with a documented code and one line."""
    run = trained.copied(case.rng.choice(["vae", "gan"]), case.shared, case.folder)
    for _ in range(PER_TRIAL):
        words = [word for word in line(case.rng, run) if not word.startswith(("steps=9", "--jobs"))]
        wrong = ending(words, case.folder).wrong((*ALLOWED, 8) if "-m" in words else ALLOWED)
        if wrong:
            return f"genlab {words!r}: {wrong}"
    return None


FAULTS = [FaultClass("bad_commands", "a fuzzed command line: code 2 to 6, one line", 6000, trial, PER_TRIAL, 1)]
