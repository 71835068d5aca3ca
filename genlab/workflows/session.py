"""A run in this process: prepared in its folder, then fit; how it ended is written down whatever happens."""

from __future__ import annotations

import contextlib
import shlex
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genlab.checkpoint import manager
from genlab.checkpoint.async_writer import BackgroundLogger, Worker
from genlab.checkpoint.saving import Saver
from genlab.config.trainer_config import TrainerConfig
from genlab.core.values import Logger
from genlab.distributed import runtime as runtimes
from genlab.errors import CheckpointError, ConfigError, GenlabError, PeerError, Stopped, bug, first_line, resource_error
from genlab.registry import loaded_plugins
from genlab.reports.report import closing_table, plugin_words, write_report
from genlab.runs import evaluations, provenance, run_folder
from genlab.runs.band_watch import BandWatch
from genlab.utils.own_folder import OwnFolder
from genlab.utils.signals import StopRequest
from genlab.utils.terminal import say
from genlab.workflows import bands, resume_check, warm_start
from genlab.workflows.build import build_data, build_loggers, build_model, build_trainer, is_quiet, read_stored

if TYPE_CHECKING:
    from genlab.core.model import Model
    from genlab.data.dataset import Data
    from genlab.distributed.runtime import Runtime
    from genlab.engine.trainer import Save, Trainer


LOG = "error.log"  # of a bug
ENDING = ("status", "code", "error", "ended", "resumed")  # fields of a record that a resumed run replaces


@dataclass(frozen=True)
class Result:
    """A finished run: its folder (None after a dry run) and its last metrics by name (`valid/elbo`, ...)."""

    run_dir: Path | None
    metrics: dict[str, float]


Watch = Callable[[int], bool]  # called with the number of steps done; True: stop


@dataclass(frozen=True)
class Job:
    """Everything of a run except its folder; built first, so that an error leaves no folder behind."""

    config: dict[str, Any]
    runtime: Runtime
    data: Data
    model: Model
    trainer: Trainer

    @classmethod
    def build(cls, config: dict[str, Any], runtime: Runtime, new: bool = True) -> Job:
        """`new`: this run has no checkpoint yet; the weights may come from another run."""
        data = build_data(config, runtime)
        model = build_model(config, data, runtime)
        if new:
            warm_start.inherit(model, config, data, warn=runtime.is_main)
        warm_start.read_features(model, new)
        return cls(config, runtime, data, model, build_trainer(config, data, model, runtime))


def start_runtime(config: Mapping[str, Any], threads: int | None = None) -> Runtime:
    """Device, precision and ranks as the section `trainer` asks; `threads`, of a run that resumes, in place of auto."""
    keys = TrainerConfig(**config["trainer"])
    count: int | Literal["auto"] = keys.threads if isinstance(keys.threads, int) else threads or "auto"
    return runtimes.start(keys.device, keys.precision, keys.deterministic, count, keys.devices)


class Session:
    """A run in this process: prepared by `start` or `resume`, then `fit`. Leaving it frees the folder and the ranks."""

    def __init__(self, command: str, stop: StopRequest, allow_change: bool = False) -> None:
        self.command, self.stop, self.allow_change = command, stop, allow_change
        self.folder: run_folder.RunFolder | None = None  # in the process that writes it
        self.resumed_at: int | None = None
        self.finished: Result | None = None  # of a run that had nothing left to do
        self._before: dict[str, Any] = {}  # the record of a run that is resumed

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        if self.folder:
            self.folder.release()
        runtimes.stop()

    # ------------------------------------------------------------------ preparing

    def start(self, path: Path, config: dict[str, Any], runtime: Runtime, exact: bool) -> None:
        """A new run in `path`, or beside it unless `exact`; `runtime` has been started for it."""
        job = Job.build(config, runtime)
        kept = config["checkpoint"]["keep"] + bool(config["checkpoint"]["best"])
        manager.check_space(path, job.trainer.state_bytes() * kept)
        self.folder = run_folder.RunFolder.claim(path, exact) if runtime.is_main else None
        path, taken = runtime.broadcast((self.folder.path, bool(self.folder.record)) if self.folder else None)
        if taken:  # another process has made this very run since we looked
            if self.folder:
                self.folder.release()
                self.folder = None
            self.allow_change = False
            self.resume(path, config, read_stored(path))
            return
        self._write_down(job, command=self.command, started=time.time())
        self.job, self.path = job, path

    def resume(self, path: Path, config: dict[str, Any], stored: dict[str, Any]) -> None:
        """Resume the run in `path` from its newest intact checkpoint; `stored` is its stored configuration."""
        record = run_folder.read_record(path)
        runtime = start_runtime(config, record.get("threads"))
        self.folder = run_folder.RunFolder.open(path) if runtime.is_main else None
        if self.folder:  # before any rank looks: a killed process may have left files
            manager.Checkpoints(path / "ckpt").sweep()
            self.folder.own.sweep()
        record = runtime.broadcast(record | self.folder.record if self.folder else None)  # read under the lock
        resume_check.refuse_changes(path, stored, config, record, runtime, self.allow_change)
        if record["status"] == "done" and config["trainer"] == stored["trainer"]:
            self.finished = _finished(path, record, runtime)
            return
        found = resume_check.newest(path, runtime)
        job = Job.build(config, runtime, new=found is None)
        if not self.allow_change:
            resume_check.refuse_other_data(path, record, job.data)
        if found:
            job.trainer.restore(found.tensors, found.state)
            self.resumed_at = found.step
        again = {"time": time.time(), "command": self.command}
        self._before = dict(record)
        self._write_down(job, code=None, error=None, ended=None, resumed=[*record.get("resumed", []), again])
        self.job, self.path = job, path

    def _write_down(self, job: Job, **more: Any) -> None:
        if self.folder:
            self.folder.write_config(job.config)
            known = resume_check.metadata(job.config, job.data, job.model, job.runtime)
            self.folder.update(**more, **known)

    # ------------------------------------------------------------------ running

    def fit(self, watch: Watch = lambda step: False) -> Result:
        """Train, and write down how it ended, whatever happens; `watch` as in `Trainer.fit`."""
        if self.finished:
            return self.finished
        trainer = self.job.trainer
        self.stop.arm()
        with self._recorded():
            with self._output() as (logger, save, signum):
                metrics = trainer.fit(logger, save, signum, watch)
                logger.hparams(self.job.config, metrics)
            done = trainer.ended  # if not, `watch` or trainer.max_time has ended it
            if self.folder:
                self._end(status="done" if done else "stopped", code=0, step=trainer.step, metrics=metrics,
                          best=trainer.ranking.best, diagnoses=list(trainer.validation.diagnoses))  # fmt: skip
        if self.folder and done:
            _show(self.path, self.folder.record, self.job.config)
        elif self.folder and trainer.out_of_time:
            say(
                f"trainer.max_time={trainer.config.max_time} is over at step {trainer.step} of {trainer.total}; "
                f"resume with: genlab resume {shlex.quote(str(self.path))}"
            )
        return Result(self.path, metrics)

    @contextlib.contextmanager
    def _recorded(self) -> Iterator[None]:
        """An exception is written into the run's record, and raised as one with an exit code."""
        try:
            yield
        except BaseException as error:
            problem = _as_problem(_asked(error, self.stop), self.job.config, self.path)
            if self.folder and isinstance(problem, CheckpointError) and self._before:  # refused: it is as it was
                self.folder.update(**{key: self._before.get(key) for key in ENDING})
            elif self.folder:
                status = "stopped" if isinstance(problem, Stopped) else "failed"
                self._end(status=status, code=problem.code, error=str(problem))
            raise problem from error

    def _end(self, **fields: Any) -> None:
        """Write down the end, and the results of `genlab eval` meanwhile, which could not write into the record."""
        assert self.folder
        self.folder.update(**fields, evaluations=evaluations.read_all(self.path), ended=time.time())

    @contextlib.contextmanager
    def _output(self) -> Iterator[tuple[Logger, Save, Callable[[], int]]]:
        """The logger, the save function and the signal check for the trainer.

        In the process that holds the folder, a background thread writes everything; it has ended when the block exits.
        """
        if self.folder is None:
            yield Logger(), lambda *_: None, lambda: self.stop.signum
            return
        folder, job, trainer = self.folder, self.job, self.job.trainer
        saving = job.config["checkpoint"]
        keeper = manager.Checkpoints(self.path / "ckpt", saving["keep"], bool(saving["best"]))
        folder.update(steps=trainer.total)
        if not is_quiet(job.config):
            say(f"{'training in' if self.resumed_at is None else 'resuming in'} {self.path}")
        metadata = {"config_hash": provenance.config_hash(job.config), "fingerprint": job.data.fingerprint}
        loggers, worker = build_loggers(job.config, self.path, self.resumed_at), Worker()
        watch = BandWatch(loggers, bands.of(job.config), self.path)
        saver = Saver(keeper, folder, worker, metadata)

        def save(step: int, objects: Mapping[str, Any], state: dict[str, Any]) -> None:
            saver.save(step, objects, state, trainer.seconds())

        def signum() -> int:
            worker.check()  # a full disk ends the run at its next step
            return self.stop.signum

        try:
            yield BackgroundLogger(watch, worker), save, signum
        finally:
            try:
                worker.close()  # its error replaces that of training: it concerns earlier steps
            finally:
                loggers.close()
                # written with the status
                folder.record |= {"time": saver.times(trainer.seconds()), "band": watch.found()}


def _finished(path: Path, record: dict[str, Any], runtime: Runtime) -> Result:
    if runtime.is_main:
        say(f"this run is finished ({record['step']} steps): {path}")
        closing_table(path, record)
    return Result(path, record["metrics"])


def _asked(error: BaseException, stop: StopRequest) -> BaseException:
    """A signal at which another rank stopped before this one reached a step where it could."""
    if stop.signum and isinstance(resource_error(error), PeerError):
        return Stopped(stop.signum, "stopped before all processes were training", "nothing new was saved")
    return error


def _show(path: Path, record: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """The report and the final table. The run is already saved, so errors here must not fail it."""
    try:
        write_report(path, record, config)
        if not is_quiet(config):
            closing_table(path, record)
    except (Exception, SystemExit) as error:  # a full disk, `| head`, a strange record
        say(f"warning: the report could not be shown ({type(error).__name__}: {error})")


def _as_problem(error: BaseException, config: Mapping[str, Any], path: Path) -> GenlabError:
    """Any exception as one with an exit code; an unknown one leaves its traceback in the run folder."""
    go_on = f"resume with: genlab resume {shlex.quote(str(path))}{plugin_words(loaded_plugins)}"
    kept = any((path / "ckpt").glob("step-*"))
    if isinstance(error, GenlabError):
        error.args = ("; ".join([str(error), *([go_on] if kept else [])]),)
        return error
    if isinstance(error, KeyboardInterrupt):
        return Stopped(2, "stopped at once", f"run {path}", go_on if kept else "nothing was saved yet")
    known = resource_error(error, config["trainer"]["batch_size"])
    if known:
        return _as_problem(known, config, path)
    if config["trainer"]["deterministic"] and "deterministic" in str(error):
        return ConfigError(
            f"an operation of this model has no deterministic form ({first_line(error)})",
            "key trainer.deterministic",
            "use trainer.deterministic=false",
        )
    OwnFolder(path).write(LOG, traceback.format_exc().encode())
    return bug(error, f"the traceback is in {path / LOG}")
