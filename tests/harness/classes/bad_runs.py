"""Mutated run folders: the files of a trained run, changed with and without new hashes in the manifest."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import struct
from pathlib import Path

import yaml

from tests.harness import odd, trained
from tests.harness.endings import ending
from tests.harness.fault_class import Case, FaultClass

ALLOWED = (0, 2, 3, 4, 5, 6)
STEPS = ("step-00000001", "step-00000002")


def mutate(rng: random.Random, run: Path) -> str:
    """Change one file of the run, and say which."""
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.name != "lock")
    weights = [
        4 if path.name in ("config.yaml", "run.json", "state.json", "metrics.jsonl", "manifest.json") else 1
        for path in files
    ]
    file = rng.choices(files, weights)[0]
    data = changed(rng, file)
    if rng.random() < 0.05:
        file.unlink()
    else:
        file.write_bytes(data)
    if file.parent.name.startswith("step-") and rng.random() < 0.8:
        rehash(file.parent)
        for step in STEPS:  # the same in the other checkpoint, to which a damaged one would give way
            if rng.random() < 0.5 and file.exists():
                (run / "ckpt" / step / file.name).write_bytes(data)
                rehash(run / "ckpt" / step)
    return str(file.relative_to(run))


def changed(rng: random.Random, file: Path) -> bytes:
    """The file's bytes with some of them changed, or with another value in its tree."""
    data = file.read_bytes()
    if rng.random() < 0.7:
        with contextlib.suppress(ValueError, TypeError, RecursionError, struct.error, yaml.YAMLError):
            return _changed_tree(rng, file.suffix, data)  # unless an earlier change has left nothing to parse
    return odd.damaged(rng, data)


def _changed_tree(rng: random.Random, suffix: str, data: bytes) -> bytes:
    match suffix:
        case ".yaml":
            return yaml.safe_dump(odd.changed(rng, yaml.safe_load(data)), sort_keys=False).encode(errors="replace")
        case ".json":
            return json.dumps(odd.changed(rng, json.loads(data))).encode(errors="replace")
        case ".jsonl":
            lines = data.splitlines() or [b"{}"]
            at = rng.randrange(len(lines))
            lines[at] = json.dumps(odd.changed(rng, json.loads(lines[at]))).encode(errors="replace")
            return b"\n".join(lines) + b"\n"
        case ".safetensors":
            size = struct.unpack("<Q", data[:8])[0]
            header = json.dumps(odd.changed(rng, json.loads(data[8 : 8 + size]))).encode(errors="replace")
            return struct.pack("<Q", len(header)) + header + data[8 + size :]
    raise ValueError(suffix)


def rehash(step: Path) -> None:
    """Give the manifest of a checkpoint the sizes and hashes of its files, so that only their content is wrong."""
    try:
        manifest = json.loads((step / "manifest.json").read_text())
        for name in manifest["files"]:
            data = (step / name).read_bytes()
            manifest["files"][name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        (step / "manifest.json").write_text(json.dumps(manifest))
    except (ValueError, TypeError, KeyError, OSError, RecursionError):
        pass  # the manifest itself was changed


def trial(case: Case) -> str | None:
    """One command on one mutated run ends with a documented code and one line, and executes nothing."""
    name = case.rng.choice([*trained.RUNS, "vae"])
    run = trained.copied(name, case.shared, case.folder)
    commands = trained.RUNS[name][1]
    what = [mutate(case.rng, run) for _ in range(case.rng.choice([1, 1, 1, 2]))]
    command = trained.words(case.rng.choice([*commands, *[commands[0]] * 3]), run)
    wrong = ending(command, case.folder).wrong(ALLOWED)
    return f"genlab {command[:1] + command[2:]} of {name} with {' and '.join(what)} changed: {wrong}" if wrong else None


FAULTS = [FaultClass("bad_runs", "mutated run folders: code 2 to 6, one line", 2000, trial, 1, 8)]
