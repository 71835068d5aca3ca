"""Checkpoints that survive a kill at any moment, and loading that runs no code.

A checkpoint is a folder `step-00001234` (contents: snapshot.py). It is written under a temporary name in the same
parent, flushed and renamed, and the parent is flushed; only then are old ones deleted. The newest checkpoint is the
highest step whose manifest verifies; no pointer file can be wrong. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from genlab.checkpoint.snapshot import Loaded, folder_name, read, step_of, verify, write
from genlab.checkpoint.state_dict import HasStateDict, non_finite, pack, unpack
from genlab.errors import CheckpointError, ConfigError, ResourceError
from genlab.utils.files import DISK_FULL, check_space, disk_full, fsync_folder
from genlab.utils.own_folder import OwnFolder
from genlab.utils.terminal import say

__all__ = ["Checkpoints", "HasStateDict", "Loaded", "check_space", "non_finite", "pack",
           "read", "unpack"]  # fmt: skip

TEMPORARY, TRASH, REPLACED = ".tmp-", ".trash-", ".replaced-"


class Checkpoints:
    """The checkpoints of one run in `folder`. One process at a time may save: the holder of the run's lock."""

    def __init__(self, folder: Path, keep: int = 2, keep_best: bool = False) -> None:
        """`keep_best`: do not delete the checkpoint of the step that the state names as the best, either."""
        if keep < 2:
            raise ConfigError(
                f"bad value {keep} for 'checkpoint.keep'",
                "a single checkpoint is at risk while the next one is written",
                "give 2 or more",
            )
        self.folder = Path(folder)
        self._run = OwnFolder(self.folder.parent)
        self.keep, self.keep_best = keep, keep_best
        self._good: set[int] = set()  # steps known to verify: saved or read by this process
        self._unevaluated: set[int] = set()  # those of them whose evaluations were due when they were saved

    def save(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Path:
        """Commit a checkpoint, then delete what is older than the newest `keep`. Returns its folder.

        A state is a function of its step: if a good checkpoint of `step` is there, it stays and nothing is written,
        unless that one was saved before the evaluations of its step.
        `tensors` are contiguous CPU tensors (`pack` gives such). ResourceError if the disk is full or fails; the
        earlier checkpoints are intact then, and no temporary file is left. ResourceError too if the run's folder has
        been removed or moved, CheckpointError if a link has taken the place of `folder`.
        """
        final = self.folder / folder_name(step)
        if self._is_good(step) and step not in self._unevaluated:
            return final
        temporary, replaced = (self.folder / f"{prefix}{final.name}" for prefix in (TEMPORARY, REPLACED))
        try:
            self._make_folder()
            _remove(temporary)
            os.mkdir(temporary)
            write(temporary, step, tensors, state)
            _remove(replaced)
            if os.path.lexists(final):  # damaged, or without its evaluations
                os.rename(final, replaced)
            os.rename(temporary, final)
            fsync_folder(self.folder)
            _remove(replaced)
        except BaseException as error:
            with contextlib.suppress(OSError):
                if not os.path.lexists(final):
                    os.rename(replaced, final)
            with contextlib.suppress(OSError):
                _remove(temporary)
            if isinstance(error, OSError):
                raise _save_error(error, final, sum(tensor.nbytes for tensor in tensors.values())) from error
            raise
        self._mark_good(step, state)
        best = state.get("best") if self.keep_best else None
        self._delete_old({step, best["step"] if best else step})
        return final

    def at(self, step: int) -> Loaded:
        """The checkpoint of a step; CheckpointError if it is damaged, or not there."""
        if step not in self.steps():
            known = ", ".join(map(str, self.steps())) or "none"
            raise CheckpointError(f"there is no checkpoint of step {step}", str(self.folder), f"there are: {known}")
        return read(self.folder / folder_name(step))

    def newest(self) -> Loaded | None:
        """The intact checkpoint of the highest step; None if there is no checkpoint at all.

        One warning names the damaged ones above it. CheckpointError if all are damaged: starting from scratch is the
        user's decision.
        """
        bad: list[str] = []
        for name in reversed(self._entries()):
            path = self.folder / name
            try:
                if step_of(name) is None:
                    raise CheckpointError(f"'{name}' is not the name of a checkpoint", str(self.folder), "remove it")
                loaded = read(path)
            except CheckpointError as error:
                bad.append(f"{name} ({_reason(error)})")
                continue
            if bad:
                _warn(f"skipped damaged checkpoint {', '.join(bad)}; resuming from {name}")
            self._mark_good(loaded.step, loaded.state)
            return loaded
        if bad:
            raise CheckpointError(
                f"no checkpoint can be used: {', '.join(bad[:5])}",
                str(self.folder),
                "restore one from a copy, or start a new run in another folder",
            )
        return None

    def _mark_good(self, step: int, state: Mapping[str, Any]) -> None:
        self._good.add(step)
        self._unevaluated.discard(step)
        if state.get("due"):
            self._unevaluated.add(step)

    def steps(self) -> list[int]:
        """Steps of which there is a checkpoint, good or bad, in order."""
        return [step for step in map(step_of, self._entries()) if step is not None]

    def sweep(self) -> int:
        """Delete half-written and half-deleted checkpoints of a killed process; returns their number.

        One that was about to be replaced returns to its place.
        """
        names = self._names()
        for name in [name for name in names if name.startswith(REPLACED)]:
            if name.removeprefix(REPLACED) not in names:
                with contextlib.suppress(OSError):
                    os.rename(self.folder / name, self.folder / name.removeprefix(REPLACED))
        leftovers = [name for name in self._names() if name.startswith((TEMPORARY, TRASH, REPLACED))]
        for name in leftovers:
            with contextlib.suppress(OSError):
                _remove(self.folder / name)
        return len(leftovers)

    def _make_folder(self) -> None:
        new = not self.folder.is_dir()
        self._run.make(self.folder.name)
        if new:
            fsync_folder(self._run.path)

    def _names(self) -> list[str]:
        if self.folder.is_symlink():
            raise CheckpointError("the folder of checkpoints is a link", str(self.folder), "put the folder there")
        try:
            return os.listdir(self.folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(
                f"the folder of checkpoints cannot be read ({error.strerror})", str(self.folder), "check what is there"
            ) from error

    def _entries(self) -> list[str]:
        """All checkpoint folders by increasing step; entries with an invalid name come first."""
        names = [name for name in self._names() if name.startswith("step-")]
        return sorted(names, key=lambda name: (-1 if (step := step_of(name)) is None else step, name))

    def _is_good(self, step: int) -> bool:
        if step not in self._good and os.path.lexists(self.folder / folder_name(step)):
            with contextlib.suppress(CheckpointError):
                verify(self.folder / folder_name(step))
                self._good.add(step)
        return step in self._good and (self.folder / folder_name(step)).is_dir()

    def _delete_old(self, spared: set[int]) -> None:
        """Delete checkpoints older than the newest `keep` good ones, but none of `spared`: the last and the best."""
        steps, good = self.steps(), 0
        for index in range(len(steps) - 1, -1, -1):
            good += self._is_good(steps[index])
            if good == self.keep:
                break
        else:
            return
        for step in steps[:index]:
            if step not in spared:
                try:
                    self._discard(self.folder / folder_name(step))
                except OSError as error:
                    _warn(f"old checkpoint {folder_name(step)} could not be deleted ({error.strerror})")

    def _discard(self, path: Path) -> None:
        """Delete a checkpoint: rename it first, so that a kill leaves no damaged one behind."""
        trash = path.with_name(f"{TRASH}{path.name}")
        _remove(trash)
        os.rename(path, trash)
        _remove(trash)


def _remove(path: Path) -> None:
    """Delete a folder, file or link; nothing happens if it is not there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _reason(error: CheckpointError) -> str:
    return str(error).split("; ")[0].partition(" cannot be used: ")[2] or str(error)


def _save_error(error: OSError, path: Path, needed: int) -> ResourceError:
    if error.errno in DISK_FULL:
        return disk_full(error, path, needed)
    return ResourceError(
        f"checkpoint {path.name} could not be written ({error.strerror})",
        str(path.parent),
        "earlier checkpoints are intact; check the disk and resume",
    )


def _warn(text: str) -> None:
    say(f"warning: {text}")
