"""The one entrypoint: configuration → objects → fit, in a run folder that can be stopped and resumed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genlab.config import compose
from genlab.distributed import runtime as runtimes
from genlab.distributed.ranks import from_environment
from genlab.runs import run_folder
from genlab.utils.signals import StopRequest
from genlab.utils.terminal import echo
from genlab.workflows import warm_start
from genlab.workflows.build import load_registry, read_stored
from genlab.workflows.dry_run import rehearse
from genlab.workflows.session import Job, Result, Session, Watch, start_runtime


def train(
    overrides: Sequence[str] = (),
    config_dirs: Sequence[str] = (),
    allow_change: bool = False,
    plugins: Sequence[str] = (),
) -> Result:
    """`genlab train OVERRIDES`: start a run, or resume the one in `hydra.run.dir`.

    Raises GenlabError; `allow_change` accepts a changed configuration or data set on resume.
    """
    return run(compose.compose(overrides, config_dirs, plugins), allow_change)


def run(composed: compose.Composed, allow_change: bool = False, watch: Watch = lambda step: False) -> Result:
    """As `train`, from a composed configuration; `watch` as in `Trainer.fit`."""
    with StopRequest(peers=from_environment().world_size > 1) as stop:
        load_registry(composed.plugins)
        config = compose.check(composed.config)
        if config["dry_run"]:
            return _dry_run(config)
        command = shlex.join(["genlab", "train", *composed.words()])
        runtime = start_runtime(config)
        run_dir = composed.run_dir
        with Session(command, stop, allow_change) as session:
            if run_dir is not None and runtime.broadcast(run_folder.is_run(run_dir)):  # one answer for all ranks
                stored = read_stored(run_dir)
                session.resume(run_dir, warm_start.continued(config, stored), stored)
            else:
                config = warm_start.settled(config, runtime)
                session.start(run_dir or composed.default_dir, config, runtime, exact=run_dir is not None)
            return session.fit(watch)


def resume(
    run: str | Path,
    overrides: Sequence[str] = (),
    allow_change: bool = False,
    plugins: Sequence[str] = (),
    device: str | None = None,
) -> Result:
    """`genlab resume RUN`: resume from the newest intact checkpoint with the run's own configuration."""
    with StopRequest(peers=from_environment().world_size > 1) as stop:
        path = run_folder.find(str(run))
        load_registry(plugins)
        stored = read_stored(path)
        changed = compose.check(compose.override_stored(stored, [*overrides, *compose.on_device(device)]))
        flags = compose.flags(plugins=plugins, device=device)
        command = shlex.join(["genlab", "resume", str(run), *flags, *overrides])
        with Session(command, stop, allow_change) as session:
            session.resume(path, changed, stored)
            return session.fit()


def _dry_run(config: dict[str, Any]) -> Result:
    runtime = start_runtime(config)
    try:
        report = rehearse(Job.build(warm_start.settled(config, runtime), runtime))
        if runtime.is_main:
            echo(*str(report).splitlines())
        return Result(None, {"images_per_second": config["trainer"]["batch_size"] / report.step_seconds})
    finally:
        runtimes.stop()
