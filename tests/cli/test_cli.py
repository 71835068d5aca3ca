"""The command: exit codes, one line per error, what it loads, how long it takes to start."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import genlab
from genlab import errors
from genlab.cli import listing, main
from genlab.distributed import launcher
from genlab.utils.exit_codes import ExitCode

ROOT = str(Path(genlab.__file__).parents[1])
RAISED = [
    (errors.ConfigError("a", "b", "c"), 2, "genlab: error: a; b; c"),
    (errors.DataError("a"), 3, "genlab: error: a"),
    (errors.CheckpointError("a"), 4, "genlab: error: a"),
    (errors.ResourceError("a"), 5, "genlab: error: a"),
    (errors.DivergedError("a"), 6, "genlab: error: a"),
    (errors.BusyError("a"), 7, "genlab: error: a"),
    (errors.SweepError("a"), 8, "genlab: error: a"),
    (errors.Stopped(15, "a"), 143, "genlab: stopped: a"),
    (errors.ConfigError("two\nlines \t here"), 2, "genlab: error: two lines here"),
    (KeyboardInterrupt(), 130, "genlab: stopped: by a signal"),
    (MemoryError(), 5, "out of memory; this process; end other programs, or ask for fewer or smaller images"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate"), 5, "out of memory"),
    (OSError(errno.ENOSPC, "No space left on device", "x"), 5, "out of disk space"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), 5, "out of address space"),
    (ImportError("libtorch_cpu.so: failed to map segment from shared object"), 5, "out of address space"),
    (RuntimeError("can't start new thread"), 5, "out of address space"),
    (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), 5, "out of memory"),
    (ValueError("boom\nboom"), 1, "a bug in genlab: ValueError: boom boom; the traceback is in "),
    (RecursionError("deep"), 1, "a bug in genlab: RecursionError: deep"),
]


def run(*arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": ROOT, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "genlab", *arguments], capture_output=True, text=True, env=environment, **more
    )  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(("error", "code", "text"), RAISED, ids=lambda value: type(value).__name__)
def test_every_error_is_one_line_and_a_code(
    error: BaseException, code: int, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setattr(listing, "run", _raiser(error))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert main.main(["list"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert text in err
    assert err.count("\n") == 1
    saved = list(tmp_path.glob("genlab-*.log"))
    assert len(saved) == (code == 1)
    if saved:
        assert str(saved[0]) in err
        assert "Traceback" in saved[0].read_text()


@pytest.mark.parametrize("error", [ValueError("boom"), errors.ConfigError("boom")])
def test_debug_shows_the_traceback(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(listing, "run", _raiser(error))
    for arguments in (["--debug", "list"], ["list", "--debug"]):
        main.main(arguments)
        err = capsys.readouterr().err
        assert "Traceback" in err
        assert "in fail" in err


def test_other_ranks_are_silent_about_what_rank_0_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in launcher.environment(1, 2, 29500).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GENLAB_LAUNCHED")  # as under torchrun
    assert main.main(["train", "model=dcgna"]) == 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_names_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(arguments) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {command} " in out for command in main.COMMANDS)


@pytest.mark.parametrize("command", main.COMMANDS)
def test_each_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: genlab {command}")
    assert "examples:" in out
    assert f"genlab {command}" in out.split("examples:")[1]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"genlab {genlab.__version__}\n"


LIGHT = [[], ["--help"], ["--version"], ["train", "--help"], ["sample", "--help"], ["list"], ["list", "models"],
    ["runs", "."],
         ["completion", "bash"], ["__complete", "genlab train model="], ["__complete", "genlab sample "]]  # fmt: skip


@pytest.mark.parametrize("arguments", LIGHT, ids=" ".join)
def test_what_looks_only_loads_neither_torch_nor_hydra(arguments: list[str]) -> None:
    code = ("import sys; from genlab.cli.main import main; code = main(sys.argv[1:]); "
            "heavy = {'torch', 'torchvision', 'hydra', 'omegaconf'} & set(sys.modules); "
            "print('HEAVY', sorted(heavy)); sys.exit(code)")  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ROOT}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_help_starts_fast() -> None:
    """At most 1.5 times the processor time of importing Hydra: the median of paired rounds."""

    def seconds(*arguments: str) -> float:
        before = os.times()
        subprocess.run(
            [sys.executable, *arguments], capture_output=True, check=True, env={**os.environ, "PYTHONPATH": ROOT}
        )
        after = os.times()
        return sum(after[2:4]) - sum(before[2:4])  # of children, user and system

    ratios = sorted(seconds("-m", "genlab", "--help") / seconds("-c", "import hydra") for _ in range(5))
    assert ratios[2] < 1.5


def test_a_bad_command_is_refused_before_torch_is_loaded() -> None:
    code = "import sys; from genlab.cli.main import main; main(['train', 'model=dcgna']); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ROOT}
    )
    assert done.stdout == "False\n"


def test_nobody_reads_on() -> None:
    done = subprocess.run(
        f"{sys.executable} -m genlab list | true", shell=True, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": ROOT},
    )  # fmt: skip
    assert done.stderr == ""


def test_as_a_module() -> None:
    assert run("--version").stdout == f"genlab {genlab.__version__}\n"
    done = run("trian")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "genlab: error: unknown command 'trian'; command line; did you mean 'train'?\n"


def test_a_terminal_that_is_not_utf8() -> None:
    environment = {**os.environ, "PYTHONPATH": ROOT, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run([sys.executable, "-m", "genlab", "train", "modél=ü"], capture_output=True, env=environment)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert (
        subprocess.run([sys.executable, "-m", "genlab", "list"], capture_output=True, env=environment).returncode == 0
    )


@pytest.mark.parametrize(
    "kind", ["models", "model", "datasets", "optimizers", "recipes", "experiments", "workloads", "debug"]
)
def test_list(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["list", kind]) == 0
    out = capsys.readouterr().out
    expected = {"models": "vae", "model": "dcgan", "datasets": "celeba", "optimizers": "adam", "recipes": "vae-digits",
                "experiments": "quick", "workloads": "dcgan64", "debug": "overfit"}[kind]  # fmt: skip
    assert any(line.startswith(f"{expected} ") for line in out.splitlines())


def test_list_shows_private_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "small.yaml").write_text("# A small one of mine\ndefaults: [vae]\n")
    assert main.main(["list", "models", "--config-dir", "mine"]) == 0
    assert re.search(r"^small +A small one of mine$", capsys.readouterr().out, re.MULTILINE)


def _raiser(error: BaseException) -> Callable[[SimpleNamespace], int]:
    def fail(options: SimpleNamespace) -> int:
        raise error

    return fail


def test_a_full_disk_that_shows_in_the_last_flush_has_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Output that is buffered meets the full disk only when the command is done."""

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sys.stdout, "flush", full)
        with ExitCode() as ending:
            print("a line that stays in the buffer")
    assert ending.code == 5
    assert "standard output cannot be written; No space left" in capsys.readouterr().err


def _compose_failed() -> None:
    try:
        raise AttributeError("'NoneType' object has no attribute '_invalidate_flags_cache'")
    except AttributeError as error:
        raise errors.ConfigError("the configuration cannot be composed") from error


@pytest.mark.parametrize(("turned", "code"), [(True, 143), (False, 2)])
def test_an_interrupt_that_a_library_turns_into_its_own_error_is_still_a_stop(turned: bool, code: int) -> None:
    """OmegaConf does, when a signal comes while it restores its flags; an error of the run itself stays."""
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        with ExitCode() as ending:
            try:
                signal.raise_signal(signal.SIGTERM)
            except BaseException:
                if turned:
                    _compose_failed()
            _compose_failed()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert ending.code == code
