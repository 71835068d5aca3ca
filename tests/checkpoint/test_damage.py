"""Damage of every kind is seen: skipped with a warning that names it, or refused; never loaded, never a restart."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from genlab.checkpoint.manager import Checkpoints, check_space, read
from genlab.checkpoint.safetensors_file import read_tensors
from genlab.errors import CheckpointError, ConfigError, ResourceError
from tests.support.durable import content, is_intact, save

FILES = ("tensors.safetensors", "state.json", "manifest.json")


def _newest_is_older(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Step 2 is damaged: `newest` gives step 1 with one line that names both; reading step 2 itself is refused."""
    capsys.readouterr()
    found = Checkpoints(folder).newest()
    assert found is not None
    assert found.step == 1
    assert is_intact(found)
    warning = capsys.readouterr().err
    assert warning.count("\n") == 1
    assert "step-00000002" in warning
    assert "step-00000001" in warning
    if os.path.lexists(folder / "step-00000002"):
        with pytest.raises(CheckpointError) as caught:
            read(folder / "step-00000002")
        assert "\n" not in str(caught.value)


def test_random_truncations(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(1)
    for _ in range(120):
        path = saved / "step-00000002" / chance.choice(FILES)
        whole = path.read_bytes()
        path.write_bytes(whole[: chance.randrange(len(whole))])
        _newest_is_older(saved, capsys)
        path.write_bytes(whole)
    assert is_intact(Checkpoints(saved).newest())


def test_random_bit_flips(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(2)
    for _ in range(300):
        path = saved / "step-00000002" / chance.choice(FILES)
        whole = path.read_bytes()
        changed = bytearray(whole)
        changed[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        _newest_is_older(saved, capsys)
        path.write_bytes(whole)


def test_every_byte_of_the_manifest_counts(saved: Path) -> None:
    path = saved / "step-00000002" / "manifest.json"
    whole = path.read_bytes()
    for index in range(len(whole)):
        for replacement in (b" ", b"\n", b"0", b"A"):
            if whole[index : index + 1] != replacement:
                path.write_bytes(whole[:index] + replacement + whole[index + 1 :])
                with pytest.raises(CheckpointError):
                    read(path.parent)


def _link(path: Path) -> None:
    """The very file, but elsewhere: its content would verify."""
    elsewhere = path.parents[3] / "outside"
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


SHAPES: dict[str, Callable[[Path], object]] = {
    "no manifest": lambda step: (step / "manifest.json").unlink(),
    "no state": lambda step: (step / "state.json").unlink(),
    "no tensors": lambda step: (step / "tensors.safetensors").unlink(),
    "renamed tensors": lambda step: (step / "tensors.safetensors").rename(step / "model.safetensors"),
    "renamed manifest": lambda step: (step / "manifest.json").rename(step / "manifest.json~"),
    "an extra file": lambda step: (step / "notes.txt").write_text("mine"),
    "an extra pickle": lambda step: (step / "model.pt").write_bytes(b"\x80\x04."),
    "an extra folder": lambda step: (step / "old").mkdir(),
    "an empty folder": lambda step: (shutil.rmtree(step), step.mkdir()),
    "a file instead": lambda step: (shutil.rmtree(step), step.write_bytes(b"")),
    "a link instead": lambda step: (shutil.move(step, step.parents[1] / "else"), step.symlink_to("../else")),
    "a dangling link": lambda step: (shutil.rmtree(step), step.symlink_to("nowhere")),
    "linked tensors": lambda step: _link(step / "tensors.safetensors"),
    "linked state": lambda step: _link(step / "state.json"),
    "linked manifest": lambda step: _link(step / "manifest.json"),
    "a pipe": lambda step: _pipe(step / "state.json"),
    "a folder as file": lambda step: ((step / "state.json").unlink(), (step / "state.json").mkdir()),
    "an older one renamed": lambda step: (shutil.rmtree(step), shutil.copytree(step.with_name("step-00000001"), step)),
    "swapped state": lambda step: shutil.copy(step.with_name("step-00000001") / "state.json", step / "state.json"),
    "swapped tensors": lambda step: shutil.copy(
        step.with_name("step-00000001") / "tensors.safetensors", step / "tensors.safetensors"
    ),
    "another manifest": lambda step: shutil.copy(
        step.with_name("step-00000001") / "manifest.json", step / "manifest.json"
    ),
    "a longer file": lambda step: (step / "tensors.safetensors").open("ab").write(b"\0"),
    "a huge manifest": lambda step: (step / "manifest.json").write_bytes(b" " * 10**6),
    "a newer format": lambda step: (step / "manifest.json").write_text('{"format": 2}'),
    "a manifest with a path": lambda step: (step / "manifest.json").write_text(
        (step / "manifest.json").read_text().replace("state.json", "../../x")
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_damage(shape: str, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    SHAPES[shape](saved / "step-00000002")
    _newest_is_older(saved, capsys)


def test_a_badly_named_folder_counts_as_damaged(saved: Path) -> None:
    for name in ("step-00000001", "step-00000002"):
        (saved / name).rename(saved / name.replace("step-0000", "step-"))
    with pytest.raises(CheckpointError, match="step-0002"):
        Checkpoints(saved).newest()


def test_all_bad_is_an_error_and_none_is_none(saved: Path) -> None:
    for step in (1, 2):
        (saved / f"step-{step:08d}" / "manifest.json").unlink()
    with pytest.raises(CheckpointError) as caught:
        Checkpoints(saved).newest()
    assert caught.value.code == 4
    assert "step-00000001" in str(caught.value)
    assert "step-00000002" in str(caught.value)
    assert Checkpoints(saved / "not there").newest() is None


def test_a_linked_folder_of_checkpoints_is_refused(saved: Path) -> None:
    other = saved.with_name("other")
    other.symlink_to(saved)
    for use in (Checkpoints(other).newest, Checkpoints(other).sweep, Checkpoints(other).steps):
        with pytest.raises(CheckpointError, match="link"):
            use()


# ---------------------------------------------------------------- keeping and sweeping


def test_two_are_kept_and_a_good_one_is_never_written_again(saved: Path) -> None:
    checkpoints = Checkpoints(saved)
    for step in (30, 4, 500):  # the last is the newest whatever the order of saving
        save(checkpoints, step)
    assert checkpoints.steps() == [30, 500]
    before = (saved / "step-00000500" / "manifest.json").stat().st_ino
    assert save(Checkpoints(saved), 500) == saved / "step-00000500"
    assert (saved / "step-00000500" / "manifest.json").stat().st_ino == before


def test_what_was_just_saved_is_never_deleted(saved: Path) -> None:
    save(Checkpoints(saved), 0)
    assert Checkpoints(saved).steps() == [0, 1, 2]


def test_bad_ones_do_not_count_as_kept(saved: Path) -> None:
    (saved / "step-00000002" / "state.json").write_bytes(b"")
    checkpoints = Checkpoints(saved)
    save(checkpoints, 3)
    assert checkpoints.steps() == [1, 2, 3]
    save(checkpoints, 4)
    assert checkpoints.steps() == [3, 4]


def test_sweep_takes_leftovers_only(saved: Path) -> None:
    (saved / ".tmp-step-00000009").mkdir()
    (saved / ".tmp-step-00000009" / "tensors.safetensors").write_bytes(b"half")
    (saved / ".trash-step-00000000").mkdir()
    (saved / ".tmp-link").symlink_to(saved / "step-00000001")
    assert Checkpoints(saved).sweep() == 3
    assert sorted(os.listdir(saved)) == ["step-00000001", "step-00000002"]
    assert Checkpoints(saved).sweep() == 0


def test_keep_must_be_two_or_more(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="keep"):
        Checkpoints(tmp_path, keep=1)


def test_check_space(tmp_path: Path) -> None:
    check_space(tmp_path / "not" / "yet" / "made", 1000)
    with pytest.raises(ResourceError, match=r"1000.0 TB needed.* free"):
        check_space(tmp_path, 10**15)


# ---------------------------------------------------------------- the format is safetensors'


DTYPES = {str(dtype): dtype for dtype in (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.float8_e4m3fn, torch.complex64,
)}  # fmt: skip


def test_files_are_what_the_library_reads_and_writes(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.randint(0, 256, (3, 2 * dtype.itemsize), dtype=torch.uint8, generator=generator).view(dtype)
        for name, dtype in DTYPES.items()
    }
    tensors |= {"BOOL": torch.tensor([True, False]), "scalar": torch.tensor(2.5), "empty": torch.empty(0, 3)}
    path = Checkpoints(tmp_path).save(7, tensors, {})
    for loaded in (load_file(path / "tensors.safetensors"), read(path).tensors):
        assert loaded.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert loaded[name].dtype == tensor.dtype
            assert loaded[name].shape == tensor.shape
            assert loaded[name].reshape(-1).view(torch.uint8).equal(tensor.reshape(-1).view(torch.uint8))

    save_file(tensors, tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    folder = os.open(tmp_path, os.O_RDONLY)
    ours, entry = read_tensors("theirs.safetensors", folder)
    os.close(folder)
    assert entry.size == (tmp_path / "theirs.safetensors").stat().st_size
    assert all(ours[name].view(-1).view(torch.uint8).equal(t.view(-1).view(torch.uint8)) for name, t in tensors.items())


def test_tensors_own_their_memory(saved: Path) -> None:
    found = Checkpoints(saved).newest()
    assert found is not None
    found.tensors["weight"].zero_()
    assert found.tensors["steps"].equal(content(2)[0]["steps"])
    assert is_intact(Checkpoints(saved).newest())


def test_what_a_file_cannot_hold_is_a_bug_and_leaves_nothing(saved: Path) -> None:
    checkpoints = Checkpoints(saved)
    with pytest.raises(TypeError, match="complex128"):
        checkpoints.save(3, {"x": torch.zeros(2, dtype=torch.complex128)}, {})
    with pytest.raises(TypeError, match="state/model is a object"):
        checkpoints.save(3, {}, {"model": object()})
    with pytest.raises(ValueError, match="more than"):
        checkpoints.save(3, {}, {"text": "x" * 5 * 2**20})
    assert sorted(os.listdir(saved)) == ["step-00000001", "step-00000002"]
