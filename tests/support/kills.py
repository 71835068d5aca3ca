"""Kill runs with SIGKILL at random moments until they are done, and compare them with one that was left alone.

Equal means: every tensor of the last checkpoint (weights, buffers, average, optimizer) has the same bits, and
metrics.jsonl has the same records, none missing and none twice; only the wall clock and the speed may differ.

    python -m tests.support.kills --kills 200             # forked children of a process that has imported torch once
    python -m tests.support.kills --kills 20 --command    # the real command, started anew each time
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CLOCK = ("time", "images_per_second")
COMMON = ["dataset=digits", "trainer.batch_size=32", "trainer.steps=40", "trainer.log_every=2", "checkpoint.every=2",
          "evaluator.objective.every=5", "trainer.ema_decay=0.9", "logger.console=null", "schedule=cosine"]  # fmt: skip
FAMILIES = {
    "vae": ["model=vae", "model.network.hidden=[32]", "model.latent_dim=4"],
    "autoencoder": ["model=autoencoder", "model.network.hidden=[32]", "model.latent_dim=4"],
    "dcgan": [
        "model=dcgan",
        "model.generator.base_channels=8",
        "model.discriminator.base_channels=8",
        "model.latent_dim=8",
    ],
}
Start = Callable[[list[str]], int]  # overrides -> process id


def fork(overrides: list[str]) -> int:
    """Start a run in a child of this process."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    with contextlib.suppress(BaseException):
        quiet()
        from genlab.cli.main import main

        code = main(["train", *overrides])
    os._exit(code)


def command(overrides: list[str]) -> int:
    """Start a run as the shell would."""
    done = subprocess.Popen(
        [sys.executable, "-m", "genlab", "train", *overrides], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return done.pid


def quiet() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def wait(pid: int, seconds: float) -> int | None:
    """The child's exit status, or None if it is still running after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def kill_until(start: Start, overrides: list[str], kills: int, longest: float, rng: random.Random) -> int:
    """Start the run again and again, each time killed at a random moment, at most `kills` times; then let it end.

    Returns how often it was really killed. A start that ends by itself must have ended well.
    """
    killed = 0
    while killed < kills:
        pid = start(overrides)
        code = wait(pid, rng.uniform(0, longest))
        if code is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            killed += 1
            continue
        if code:
            raise AssertionError(f"a restarted run ended with code {code}")
        break
    code = wait(start(overrides), 600)
    if code != 0:
        raise AssertionError(f"the last start ended with code {code}")
    return killed


def fingerprint(run: Path) -> dict[str, str]:
    """SHA-256 of the last checkpoint's tensors, and of the metrics without the clock; the record must say `done`."""
    from genlab.checkpoint.manager import Checkpoints

    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "done", record["status"]
    found = Checkpoints(run / "ckpt").newest()
    assert found is not None
    assert not list((run / "ckpt").glob(".*")), "leftovers of interrupted saves"
    tensors = hashlib.sha256()
    for name in sorted(found.tensors):
        tensors.update(name.encode() + found.tensors[name].contiguous().numpy().tobytes())
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    keys = [(r["step"], r["split"], *sorted(r)) for r in records]  # each evaluator has a line of its own
    assert len(keys) == len(set(keys)), "a metric line stands twice"
    kept = [{k: v for k, v in r.items() if k not in CLOCK} for r in records]
    return {"tensors": tensors.hexdigest(), "metrics": hashlib.sha256(json.dumps(kept).encode()).hexdigest()}


def trial(start: Start, family: str, kills: int, folder: Path, rng: random.Random) -> int:
    """Kill one family's runs `kills` times over as many runs as that takes; AssertionError at the first difference."""
    overrides = [*COMMON, *FAMILIES[family]]
    began = time.monotonic()
    assert wait(start([*overrides, f"hydra.run.dir={folder / 'whole'}"]), 600) == 0
    longest = time.monotonic() - began
    whole, done, runs = fingerprint(folder / "whole"), 0, 0
    while done < kills:
        runs += 1
        run = folder / f"killed-{runs}"
        done += kill_until(start, [*overrides, f"hydra.run.dir={run}"], min(10, kills - done), longest, rng)
        assert fingerprint(run) == whole, f"{run} differs from the uninterrupted run"
    return runs


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--kills", type=int, default=200)
    parse.add_argument("--command", action="store_true")
    parse.add_argument("--family", choices=sorted(FAMILIES), action="append")
    parse.add_argument("--seed", type=int, default=0)
    options = parse.parse_args()
    import torch

    from genlab.workflows.build import load_registry

    torch.set_num_threads(1)
    load_registry()
    rng = random.Random(options.seed)
    for family in options.family or FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            runs = trial(command if options.command else fork, family, options.kills, Path(folder), rng)
        print(f"{family}: {options.kills} kills over {runs} runs, 0 lost, 0 bits different", flush=True)


if __name__ == "__main__":
    main()
