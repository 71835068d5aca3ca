"""A kill, a full disk or an error at any operation inside a save leaves the old newest checkpoint or the new one."""

from __future__ import annotations

import errno
import itertools
import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from genlab.checkpoint.manager import Checkpoints, read
from genlab.errors import ResourceError
from tests.support.durable import content, hooked, in_child, is_intact, save

# ---------------------------------------------------------------- five situations in which step 3 is saved


def _ordinary(folder: Path) -> None:
    """Two good checkpoints: the older one is deleted after the save."""


def _after_a_kill(folder: Path) -> None:
    """What a kill left: a half-written temporary folder and a half-deleted old checkpoint."""
    for name in (".tmp-step-00000003", ".trash-step-00000001"):
        shutil.copytree(folder / "step-00000002", folder / name)
        (folder / name / "manifest.json").unlink()


def _over_a_damaged_one(folder: Path) -> None:
    """Step 3 is there already, but damaged."""
    shutil.copytree(folder / "step-00000002", folder / "step-00000003")


def _newest_damaged(folder: Path) -> None:
    """Step 2 is damaged: step 1 must not be deleted for it."""
    (folder / "step-00000002" / "state.json").write_bytes(b"{}")


def _many_old(folder: Path) -> None:
    """The run kept more before: several are deleted at once."""
    save(Checkpoints(folder, keep=9), 0)


SITUATIONS = [_ordinary, _after_a_kill, _over_a_damaged_one, _newest_damaged, _many_old]


def _points(folder: Path, prepare: Callable[[Path], None], template: Path) -> int:
    """How many places there are inside this save at which it can be interrupted."""
    shutil.copytree(template, folder)
    prepare(folder)
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        hooked(patch, lambda when, operation: seen.append(operation))
        save(Checkpoints(folder), 3)
    shutil.rmtree(folder)
    assert {"mkdir", "write", "fsync", "rename", "unlink"} <= set(seen)
    return len(seen)


def _save_and_die(folder: Path, point: int) -> None:
    left = [point]

    def hook(when: str, operation: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        hooked(patch, hook)
        save(Checkpoints(folder), 3)


@pytest.mark.parametrize("prepare", SITUATIONS, ids=lambda f: f.__name__.strip("_"))
def test_kill_at_every_operation(prepare: Callable[[Path], None], saved: Path, place: Path) -> None:
    folder = place / "trial"
    points = _points(folder, prepare, saved)
    outcomes = set()
    for point in range(points):
        shutil.copytree(saved, folder)
        prepare(folder)
        assert in_child(lambda point=point: _save_and_die(folder, point)) == -signal.SIGKILL
        found = Checkpoints(folder).newest()
        assert found is not None
        assert is_intact(found)
        assert found.step in ((1, 3) if prepare is _newest_damaged else (2, 3))
        outcomes.add(found.step)
        if prepare is _ordinary:  # a half-deleted old one does not pose as a checkpoint
            for step in Checkpoints(folder).steps():
                read(folder / f"step-{step:08d}")

        again = Checkpoints(folder)  # the next process sweeps, saves, and leaves nothing but what is kept
        again.sweep()
        save(again, 3)
        kept = {1, 3} if prepare is _newest_damaged else {2, 3}
        assert kept <= set(again.steps())
        assert not [name for name in os.listdir(folder) if name.startswith(".")]
        shutil.rmtree(folder)
    assert 3 in outcomes  # the last points come after the commit
    assert len(outcomes) == 2


def test_kill_inside_the_first_save(place: Path) -> None:
    folder = place / "ckpt"
    for point in range(100):
        status = in_child(lambda point=point: _save_and_die(folder, point))
        found = Checkpoints(folder).newest()
        assert found is None or (found.step == 3 and is_intact(found))
        if status == 0:
            break
        shutil.rmtree(folder, ignore_errors=True)
    assert status == 0
    assert found is not None


def test_random_kills_lose_nothing(place: Path) -> None:
    """A child that saves step after step is killed 40 times at random moments: progress never goes back.

    Every second child is killed after its first save, so a slow machine gets on as well.
    """
    folder, chance, last = place / "ckpt", random.Random(5), 0

    def run_on(pipe: int) -> None:
        checkpoints = Checkpoints(folder)
        checkpoints.sweep()
        found = checkpoints.newest()
        for step in itertools.count(found.step + 1 if found else 1):
            save(checkpoints, step)
            os.write(pipe, b".")

    for trial in range(40):
        saved, pipe = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                run_on(pipe)
            finally:
                os._exit(99)
        os.close(pipe)
        if trial % 2:
            assert os.read(saved, 1), "the child ended before its first save"
        time.sleep(chance.uniform(0.001, 0.025))
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        os.close(saved)
        found = Checkpoints(folder).newest()
        assert found is None or is_intact(found)
        step = found.step if found else 0
        assert step >= last
        last = step
    assert last >= 20
    Checkpoints(folder).sweep()
    save(Checkpoints(folder), last + 1)
    assert len(os.listdir(folder)) == 2


# ---------------------------------------------------------------- errors instead of kills


def _save_with_error(folder: Path, point: int, code: int) -> tuple[ResourceError | None, bool]:
    """Operation number `point` fails with `code`: what `save` raised, and whether it came that far at all."""
    left = [point]

    def fail(when: str, operation: str) -> None:
        if when == "before" and operation not in ("unlink", "rmdir"):  # those only tidy up
            left[0] -= 1
            if left[0] == -1:
                raise OSError(code, os.strerror(code))

    with pytest.MonkeyPatch.context() as patch:
        hooked(patch, fail)
        try:
            save(Checkpoints(folder), 3)
        except ResourceError as error:
            return error, True
    return None, left[0] < 0


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_error_at_every_operation(code: int, saved: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = place / "trial"
    errors, reached, point = [], True, 0
    while reached:
        shutil.copytree(saved, folder)
        error, reached = _save_with_error(folder, point, code)
        if error:
            errors.append(error)
        elif reached:  # only the old checkpoint could not be moved away: worth a warning
            assert "step-00000001 could not be deleted" in capsys.readouterr().err
        found = Checkpoints(folder).newest()
        assert found is not None
        assert is_intact(found)
        assert not [name for name in os.listdir(folder) if name.startswith(".tmp-")]
        shutil.rmtree(folder)
        point += 1
    assert len(errors) > 10
    assert all(error.code == 5 and os.strerror(code) in str(error) for error in errors)


def test_full_disk_at_every_size(saved: Path) -> None:
    """RLIMIT_FSIZE makes the kernel refuse a write beyond a size (EFBIG), whatever the file."""
    tensors, state = content(3)
    tensors["large"] = tensors["weight"].repeat(20, 20)
    size = sum(tensor.nbytes for tensor in tensors.values()) + 400

    def try_to_save(limit: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            Checkpoints(saved).save(3, tensors, state)
        except ResourceError as error:
            message = str(error)
            os._exit(5 if "needed" in message and "free" in message and "\n" not in message else 98)

    codes = []
    for limit in range(0, size + 2000, (size + 2000) // 50):
        codes.append(in_child(lambda limit=limit: try_to_save(limit)))
        found = Checkpoints(saved).newest()
        assert found is not None
        assert not [name for name in os.listdir(saved) if name.startswith(".tmp-")]
        assert found.step == (2 if codes[-1] == 5 else 3)
        if codes[-1] == 5:
            assert sorted(os.listdir(saved)) == ["step-00000001", "step-00000002"]
    assert set(codes) == {5, 0}
    assert codes.count(5) > 40


def test_an_interrupt_leaves_no_temporary(saved: Path, patch: pytest.MonkeyPatch) -> None:
    def interrupt(when: str, operation: str) -> None:
        if when == "half":
            raise KeyboardInterrupt

    hooked(patch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(Checkpoints(saved), 3)
    assert sorted(os.listdir(saved)) == ["step-00000001", "step-00000002"]


def test_order_of_the_operations(saved: Path, patch: pytest.MonkeyPatch) -> None:
    """What a power cut can tear apart is flushed first: files, folder, rename, parent, and only then deletions."""
    log: list[tuple[str, str]] = []
    fsync, rename, rmdir = os.fsync, os.rename, os.rmdir

    def note_fsync(fd: int) -> None:
        fsync(fd)
        log.append(("fsync", Path(os.readlink(f"/proc/self/fd/{fd}")).name))

    def note_rename(source: Path, target: Path, **kwargs: int) -> None:
        rename(source, target, **kwargs)
        log.append(("rename", f"{Path(source).name} {Path(target).name}"))

    def note_rmdir(path: str, **kwargs: int) -> None:
        rmdir(path, **kwargs)
        log.append(("rmdir", Path(path).name))

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc to tell which file is flushed")
    patch.setattr(os, "fsync", note_fsync)
    patch.setattr(os, "rename", note_rename)
    patch.setattr(os, "rmdir", note_rmdir)
    save(Checkpoints(saved), 3)
    assert log == [
        ("fsync", "tensors.safetensors"),
        ("fsync", "state.json"),
        ("fsync", "manifest.json"),
        ("fsync", ".tmp-step-00000003"),
        ("rename", ".tmp-step-00000003 step-00000003"),
        ("fsync", "ckpt"),
        ("rename", "step-00000001 .trash-step-00000001"),
        ("rmdir", ".trash-step-00000001"),
    ]
