"""How long a fresh process takes to its first optimizer step, and on what: what `genlab doctor` shows.

    python -m genlab.workflows.first_step

trains the default model on the built-in digits for one step, makes no run folder, and prints seconds as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from genlab.distributed import ranks
from genlab.engine.timer import since_process_start
from genlab.utils.terminal import echo

LIMIT = 120  # seconds after which the measuring process is given up


def measured(overrides: Sequence[str] = ()) -> dict[str, float]:
    """Wall seconds of each part of a start in a new process, and of all: `first step`, from the process's own start.

    The process has a cache of its own, gone afterwards. RuntimeError with its last line if it does not get so far.
    """
    command = [sys.executable, "-m", "genlab.workflows.first_step", *overrides]
    with tempfile.TemporaryDirectory() as cache:
        alone = {key: value for key, value in os.environ.items() if key not in ranks.VARIABLES}
        environment = {**alone, "GENLAB_CACHE": cache}
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environment, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    found: dict[str, float] = json.loads(done.stdout)
    return found


def start(overrides: Sequence[str]) -> dict[str, float]:
    """Do what a run does up to its first step, in this process; seconds of each part, and since the process began."""
    marks = [("python", since_process_start())]

    def mark(part: str) -> None:
        marks.append((part, since_process_start()))

    from genlab.config import compose

    composed = compose.compose(overrides).config
    compose.precheck(composed)
    mark("compose")
    import torch  # noqa: F401

    mark("import torch")
    from genlab.distributed.runtime import start as start_runtime
    from genlab.workflows import build

    build.load_registry()
    composed = compose.check(composed)
    runtime = start_runtime(composed["trainer"]["device"], composed["trainer"]["precision"], False, "auto")
    mark("import genlab")
    data = build.build_data(composed, runtime)
    mark("data")
    trainer = build.build_trainer(composed, data, build.build_model(composed, data, runtime), runtime)
    mark("build")
    trainer.train_step()
    runtime.synchronize()
    mark("step")
    since = [0.0, *(seconds for _, seconds in marks)]
    return {part: end - begin for (part, end), begin in zip(marks, since, strict=False)} | {"first step": since[-1]}


if __name__ == "__main__":
    echo(json.dumps(start(sys.argv[1:])))
