"""The one entrypoint: configuration → objects → fit, in a run folder that can be stopped and gone on with."""

from __future__ import annotations

import shlex
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab import checkpoint, config, continuation, inheritance, provenance, runs
from genlab import runtime as runtimes
from genlab.background import BackgroundLogger, Worker
from genlab.build import (
    build_data,
    build_loggers,
    build_model,
    build_trainer,
    load_registry,
    read_stored,
)
from genlab.dryrun import rehearse
from genlab.errors import (
    ConfigError,
    GenlabError,
    PeerError,
    Stopped,
    resource_error,
)
from genlab.files import write_atomic
from genlab.progress import say
from genlab.report import closing_table, plugin_words, write_report
from genlab.results import Logger
from genlab.saving import Saver
from genlab.settings import Settings
from genlab.signals import StopRequest

if TYPE_CHECKING:
    from genlab.data.dataset import Data
    from genlab.model import Model
    from genlab.runtime import Runtime
    from genlab.trainer import Trainer


@dataclass(frozen=True)
class Result:
    """A finished run: its folder (None after a dry run) and its last metrics by name (`valid/elbo`, ...)."""

    run_dir: Path | None
    metrics: dict[str, float]


def train(overrides: Sequence[str] = (), config_dirs: Sequence[str] = (), allow_change: bool = False) -> Result:
    """`genlab train OVERRIDES`: start a run, or go on with the one in `hydra.run.dir`.

    Raises GenlabError; `allow_change` accepts a changed configuration or data set when going on.
    """
    return run(config.compose(overrides, config_dirs), allow_change)


Watch = Callable[[int], bool]  # told of each step that is done; answers whether that is enough


def run(composed: config.Composed, allow_change: bool = False, watch: Watch = lambda step: False) -> Result:
    """As `train`, from a composed configuration; `watch` as in `Trainer.fit`."""
    with StopRequest() as stop:
        load_registry(composed.plugins)
        config.check(composed.config)
        if composed.config["dry_run"]:
            return _dry_run(composed.config)
        folders = [word for folder in composed.config_dirs for word in ("--config-dir", folder)]
        command = shlex.join(["genlab", "train", *folders, *composed.overrides])
        runtime = _runtime(composed.config)
        where = composed.run_dir
        if where is not None and runtime.broadcast(runs.is_run(where)):  # one answer for all ranks
            stored = read_stored(where)
            settings = inheritance.continued(composed.config, stored)
            return _go_on(where, settings, stored, command, stop, allow_change, watch)
        settings = inheritance.settled(composed.config, runtime)
        return _start(where or composed.default_dir, settings, command, stop, where is not None, watch)


def resume(run: str | Path, overrides: Sequence[str] = (), allow_change: bool = False) -> Result:
    """`genlab resume RUN`: go on from the newest whole checkpoint with the run's own configuration."""
    with StopRequest() as stop:
        path = runs.find(str(run))
        keys = [item for item in overrides if not item.startswith("plugins=")]
        load_registry(config.plugin_names(overrides))
        stored = read_stored(path)
        changed = config.override_stored(stored, keys)
        config.check(changed)
        command = shlex.join(["genlab", "resume", str(run), *overrides])
        return _go_on(path, changed, stored, command, stop, allow_change, lambda step: False)


# ---------------------------------------------------------------------- starting and going on


@dataclass(frozen=True)
class Job:
    """Everything of a run but its folder: built first, so that what is wrong leaves no folder behind."""

    config: dict[str, Any]
    runtime: Runtime
    data: Data
    model: Model
    trainer: Trainer

    @classmethod
    def build(cls, settings: dict[str, Any], runtime: Runtime, new: bool = True) -> Job:
        """`new`: the weights are not those of a checkpoint of this run, and may be inherited from another."""
        data = build_data(settings, runtime)
        model = build_model(settings, data, runtime)
        if new:
            inheritance.inherit(model, settings, data, warn=runtime.is_main)
            inheritance.read_features(model)
        return cls(settings, runtime, data, model, build_trainer(settings, data, model, runtime))


def _runtime(settings: Mapping[str, Any], threads: int | None = None) -> Runtime:
    keys = Settings(**settings["trainer"])
    return runtimes.start(keys.device, keys.precision, keys.deterministic, keys.threads or threads, keys.devices)


def _start(where: Path, settings: dict[str, Any], command: str, stop: StopRequest, exact: bool, watch: Watch) -> Result:
    runtime, folder = _runtime(settings), None
    try:
        job = Job.build(settings, runtime)
        checkpoint.check_space(where, job.trainer.state_bytes() * settings["checkpoint"]["keep"])
        folder = runs.RunFolder.claim(where, exact) if runtime.is_main else None
        path, taken = runtime.broadcast((folder.path, bool(folder.record)) if folder else None)
        if folder:
            if taken:  # another process has made this very run since we looked
                folder.release()
            else:
                folder.write_config(settings)
                known = continuation.facts(settings, job.data, job.model, runtime)
                folder.update(command=command, started=time.time(), **known)
        if taken:
            return _go_on(path, settings, read_stored(path), command, stop, False, watch)
        return _run(job, path, folder, stop, None, watch)
    finally:
        if folder:
            folder.release()
        runtimes.stop()


def _dry_run(settings: dict[str, Any]) -> Result:
    runtime = _runtime(settings)
    try:
        report = rehearse(Job.build(inheritance.settled(settings, runtime), runtime))
        if runtime.is_main:
            print(report)
        return Result(None, {"images_per_second": settings["trainer"]["batch_size"] / report.step_seconds})
    finally:
        runtimes.stop()


def _go_on(
    path: Path,
    settings: dict[str, Any],
    stored: dict[str, Any],
    command: str,
    stop: StopRequest,
    allow_change: bool,
    watch: Watch,
) -> Result:
    record = runs.read_record(path)
    runtime = _runtime(settings, record.get("threads"))
    folder = None
    try:
        folder = runs.RunFolder.open(path) if runtime.is_main else None
        record = runtime.broadcast(
            record | folder.record if folder else None
        )  # as it is now that nobody else writes it
        continuation.refuse_changes(path, stored, settings, record, runtime, allow_change)
        if record["status"] == "done" and settings["trainer"] == stored["trainer"]:
            return _finished(path, record, runtime)
        found = continuation.newest(path, runtime)
        job = Job.build(settings, runtime, new=found is None)
        if not allow_change:
            continuation.refuse_other_data(path, record, job.data)
        if found:
            job.trainer.restore(found.tensors, found.state)
        if folder:
            folder.write_config(settings)
            known = continuation.facts(settings, job.data, job.model, runtime)
            folder.update(code=None, error=None, ended=None, command=command,
                          resumed=[*record.get("resumed", []), time.time()], **known)  # fmt: skip
        return _run(job, path, folder, stop, found.step if found else None, watch)
    finally:
        if folder:
            folder.release()
        runtimes.stop()


def _finished(path: Path, record: dict[str, Any], runtime: Runtime) -> Result:
    if runtime.is_main:
        say(f"this run is finished ({record['step']} steps): {path}")
        closing_table(path, record)
    return Result(path, record["metrics"])


# ---------------------------------------------------------------------- running


def _run(
    job: Job, path: Path, folder: runs.RunFolder | None, stop: StopRequest, resumed_at: int | None, watch: Watch
) -> Result:
    """Fit, and write down how it ended, whatever happens."""
    try:
        stop.armed = True
        metrics = _fit(job, path, folder, stop, resumed_at, watch)
        if folder:
            status = "done" if job.trainer.step == job.trainer.total else "stopped"  # by `watch`
            folder.update(status=status, code=0, step=job.trainer.step, metrics=metrics, best=job.trainer.best,
                          diagnoses=list(job.trainer.diagnoses), ended=time.time())  # fmt: skip
    except BaseException as error:
        problem = _as_problem(_asked(error, stop), job.config, path)
        if folder:
            status = "stopped" if isinstance(problem, Stopped) else "failed"
            folder.update(status=status, code=problem.code, error=str(problem), ended=time.time())
        raise problem from error
    if folder and job.trainer.step == job.trainer.total:  # one that `watch` has ended is somebody's measurement
        _show(path, folder.record, job.config)
    return Result(path, metrics)


def _asked(error: BaseException, stop: StopRequest) -> BaseException:
    """A signal that another rank had obeyed before this one was at a step where it could."""
    if stop.signum and isinstance(resource_error(error), PeerError):
        return Stopped(stop.signum, "stopped before all processes were training", "nothing new was saved")
    return error


def _fit(
    job: Job, path: Path, folder: runs.RunFolder | None, stop: StopRequest, resumed_at: int | None, watch: Watch
) -> dict[str, float]:
    """Train; in the process that has the folder, a thread beside it writes everything, and has ended on return."""
    trainer = job.trainer
    if folder is None:
        return trainer.fit(Logger(), lambda *_: None, lambda: stop.signum, watch)
    keeper = checkpoint.Checkpoints(path / "ckpt", job.config["checkpoint"]["keep"])
    keeper.sweep()
    folder.update(steps=trainer.total)
    say(f"{'training in' if resumed_at is None else 'going on in'} {path}")
    facts = {"config_hash": provenance.config_hash(job.config), "fingerprint": job.data.fingerprint}
    loggers, worker = build_loggers(job.config, path, resumed_at), Worker()
    saver, logger = Saver(keeper, folder, worker, facts), BackgroundLogger(loggers, worker)

    def save(step: int, objects: Mapping[str, Any], state: dict[str, Any]) -> None:
        saver.save(step, objects, state, trainer.seconds())

    def signum() -> int:
        worker.check()  # a full disk ends the run at its next step
        return stop.signum

    try:
        metrics = trainer.fit(logger, save, signum, watch)
        logger.hparams(job.config, metrics)
    finally:
        try:
            worker.close()  # an error of its own takes the place of training's: it concerns earlier steps
        finally:
            loggers.close()
            folder.record["time"] = saver.times(trainer.seconds())  # written with the status
    return metrics


def _show(path: Path, record: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """The report and the closing table. The run is done and saved: nothing here may fail it."""
    try:
        write_report(path, record, settings)
        closing_table(path, record)
    except (Exception, SystemExit) as error:  # a full disk, `| head`, a strange record
        say(f"warning: the report could not be shown ({type(error).__name__}: {error})")


def _as_problem(error: BaseException, settings: Mapping[str, Any], path: Path) -> GenlabError:
    """Any exception as one with an exit code; an unknown one leaves its traceback in the run folder."""
    go_on = f"resume with: genlab resume {shlex.quote(str(path))}{plugin_words(settings)}"
    kept = any((path / "ckpt").glob("step-*"))
    if isinstance(error, GenlabError):
        error.args = ("; ".join([str(error), *([go_on] if kept else [])]),)
        return error
    if isinstance(error, KeyboardInterrupt):
        return Stopped(2, "stopped at once", f"run {path}", go_on if kept else "nothing was saved yet")
    known = resource_error(error, settings["trainer"]["batch_size"])
    if known:
        return _as_problem(known, settings, path)
    if settings["trainer"]["deterministic"] and "deterministic" in str(error):
        said = str(error).splitlines()[0][:120]
        return ConfigError(
            f"an operation of this model has no deterministic form ({said})",
            "key trainer.deterministic",
            "use trainer.deterministic=false",
        )
    log = path / "error.log"
    write_atomic(log, traceback.format_exc().encode())
    return GenlabError(f"a bug in genlab: {type(error).__name__}: {error}", f"the traceback is in {log}", "report it")
