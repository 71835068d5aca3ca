"""What a user names as a file or folder: every odd path is one line with code 2 or 3, never a hang or a bug."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from genlab.cli import main
from genlab.config.compose import compose
from genlab.errors import ConfigError, DataError, path_error
from genlab.utils.paths import user_file, user_path

LONG = "x" * 300


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with pipes and a loop of links."""
    monkeypatch.chdir(tmp_path)
    for suffix in ("", ".npy", ".npz", ".png", ".safetensors"):
        os.mkfifo(f"pipe{suffix}")
    (tmp_path / "pipes").mkdir()
    os.mkfifo("pipes/a.png")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file.npy").write_bytes(b"x")
    return tmp_path


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Root may read everything, so it becomes another user for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield
    if root:
        os.seteuid(0)


@pytest.mark.parametrize("name", [LONG, f"a/{LONG}/b", "~nosuchuser/x", "loop", "loop/x", "nul\0", "", " "])
def test_an_unusable_path_names_its_key(place: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be used \(.*\); key k; give another path") as caught:
        user_path(name, "key k")
    assert len(str(caught.value)) < 250


def test_a_folder_without_permission(tmp_path: Path, unprivileged: None) -> None:
    if os.getuid():
        tmp_path.chmod(0)
    try:
        for path in (tmp_path, tmp_path / "inner" / "x"):
            with pytest.raises(ConfigError, match=r"cannot be used \(Permission denied\)"):
                user_path(path, "key k")
    finally:
        if os.getuid():
            tmp_path.chmod(0o700)


def test_what_is_not_there_may_be_made_and_home_is_expanded(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert user_path("~/new", "key k") == Path("/somewhere/new")
    assert user_path("new/inner", "key k") == Path("new/inner")
    assert user_path("file.npy/inner", "key k") == Path("file.npy/inner")


def test_a_deleted_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigError, match="the working folder was deleted"):
        user_path("x", "key k")
    assert user_path("/x", "key k") == Path("/x")


def test_a_file_is_regular_and_of_its_kind(place: Path) -> None:
    assert user_file("file.npy", "key k", (".npy",)) == place / "file.npy"
    with pytest.raises(ConfigError, match=r"file.npy is another kind of file; key k; give .npz"):
        user_file("file.npy", "key k", (".npz",))
    for name in ("pipe", "pipes", "/dev/null", "/dev/zero"):
        with pytest.raises(DataError, match="is not a regular file; key k"):
            user_file(name, "key k")
    with pytest.raises(DataError, match="new is missing; key k; make it"):
        user_file("new", "key k", hint="make it")


def test_a_path_that_the_system_refuses_is_the_users_error() -> None:
    refused = path_error(PermissionError(13, "Permission denied", "/data/x"))
    assert refused is not None
    assert str(refused) == "a path cannot be used (Permission denied); /data/x; check it and its permissions"
    assert path_error(FileNotFoundError(2, "No such file or directory", "/data/x")) is None
    assert path_error(ValueError()) is None


def commands() -> Iterator[list[str]]:
    """Every key that names a file or folder, with odd paths."""
    for path in (LONG, "loop/x", "/dev/null", "pipe", "pipes/a.png/x", "'~nosuchuser/x'"):
        for dataset in ("folder", "celeba", "mnist", "unpaired", "lsun"):
            yield ["prepare", f"dataset={dataset}", f"dataset.root={path}"]
        for suffix in (".npy", ".npz"):
            quote = "'" if path.endswith("'") else ""
            named = f"{path.removesuffix(quote)}{suffix}{quote}" if path[0] != "/" else path
            yield ["prepare", "dataset=array", f"dataset.path={named}"]
            yield ["prepare", "dataset=generated", "dataset.real=digits", f"dataset.samples={named}"]
        yield ["train", "--cfg", "job", f"hydra.run.dir={path}"] if path in (LONG, "loop/x") else ["runs", path]
        yield ["prepare", "--config-dir", path.strip("'")]
        yield ["runs", path.strip("'")]
        yield ["sample", path.strip("'")]
    yield ["prepare", "dataset=folder", "dataset.root=pipes", "dataset.size=8"]
    yield ["train", "--config-dir", ""]
    yield ["runs", ""]
    yield ["prepare", "dataset=mnist", "dataset.root="]
    yield ["train", "dry_run=true", "model=classifier", "model.init_from="]
    yield ["sample", "abc/" * 1250]


@pytest.mark.parametrize("arguments", list(commands()), ids=lambda words: " ".join(words)[:60])
def test_an_odd_path_is_one_line(place: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    refuse(capsys, arguments)


@pytest.mark.parametrize("variable", ["GENLAB_DATA", "GENLAB_CACHE"])
@pytest.mark.parametrize("path", [LONG, "~nosuchuser/x", "loop", "/dev/null/x"])
def test_odd_folders_in_the_environment(
    place: Path, variable: str, path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, path)
    refuse(capsys, ["prepare", *(["dataset=celeba"] if variable == "GENLAB_DATA" else [])])


def refuse(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Code 2 or 3 and one line."""
    assert main.main(arguments) in (2, 3)
    out, err = capsys.readouterr()
    errors = [line for line in err.splitlines() if not line.startswith("genlab: decoding")]
    assert out == ""
    assert len(errors) == 1, err
    assert errors[0].startswith("genlab: error: ")
    assert len(errors[0]) < 1500


def test_a_run_folder_below_home(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(place / "home"))
    assert compose(["hydra.run.dir='~/runs/a'"]).run_dir == place / "home/runs/a"  # made a folder named ~
