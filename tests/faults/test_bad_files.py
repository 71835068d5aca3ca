"""Damaged data end with code 3 and damaged runs with code 4, through the command: one line, nothing executed."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genlab.cli import main
from tests.support.synthetic import mnist

TRAIN = ["train", "trainer.steps=2", "trainer.batch_size=4", "logger=jsonl", "evaluator=none"]
Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Refused:
    """`refused(code, *arguments)`: the command ends with that code and one line, and makes no run folder."""

    def check(code: int, *arguments: str) -> str:
        outputs = sorted(tmp_path.glob("outputs/**/*"))
        capsys.readouterr()
        assert main.main(arguments) == code
        err = capsys.readouterr().err
        errors = [line for line in err.splitlines() if not line.startswith(("genlab: warning:", "genlab: decoding"))]
        assert len(errors) == 1, err
        assert errors[0].startswith("genlab: error: ")
        assert "Traceback" not in err
        assert sorted(tmp_path.glob("outputs/**/*")) == outputs
        return errors[0]

    return check


# ---------------------------------------------------------------------- data


def raw_mnist(root: Path) -> Path:
    """A tiny but valid MNIST below `root`; the folder of its files."""
    mnist(root)
    return root / "MNIST" / "raw"


def rewrite(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Damage of the unpacked bytes of the training images."""

    def damage(raw: Path) -> None:
        file = raw / "train-images-idx3-ubyte.gz"
        file.write_bytes(gzip.compress(change(gzip.decompress(file.read_bytes()))))

    return damage


def packed(change: Callable[[bytes], bytes], name: str = "train-images-idx3-ubyte.gz") -> Callable[[Path], object]:
    return lambda raw: (raw / name).write_bytes(change((raw / name).read_bytes()))


IDX_DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": lambda raw: (raw / "train-images-idx3-ubyte.gz").unlink(),
    "labels missing": lambda raw: (raw / "t10k-labels-idx1-ubyte.gz").unlink(),
    "empty": packed(lambda data: b""),
    "no gzip": packed(lambda data: b"<html>404</html>"),
    "cut": packed(lambda data: data[: len(data) // 2]),
    "cut labels": packed(lambda data: data[:20], "train-labels-idx1-ubyte.gz"),
    "flipped": packed(lambda data: data[:500] + bytes([data[500] ^ 255]) + data[501:]),
    "magic": rewrite(lambda data: b"\1" + data[1:]),
    "type": rewrite(lambda data: data[:2] + b"\x0d" + data[3:]),
    "dimensions": rewrite(lambda data: data[:3] + b"\2" + data[4:]),
    "count": rewrite(lambda data: data[:4] + struct.pack(">I", 41) + data[8:]),
    "huge count": rewrite(lambda data: data[:4] + b"\xff" * 4 + data[8:]),
    "short": rewrite(lambda data: data[:-1]),
    "long": rewrite(lambda data: data + b"\0"),
    "header only": rewrite(lambda data: data[:16]),
    "half header": rewrite(lambda data: data[:7]),
    "labels for images": lambda raw: shutil.copy(
        raw / "train-labels-idx1-ubyte.gz", raw / "train-images-idx3-ubyte.gz"),
    "a folder": lambda raw: [
        (raw / "train-images-idx3-ubyte.gz").unlink(), (raw / "train-images-idx3-ubyte.gz").mkdir()],
}  # fmt: skip


@pytest.mark.parametrize("damage", IDX_DAMAGE)
def test_damaged_idx(damage: str, tmp_path: Path, refused: Refused) -> None:
    IDX_DAMAGE[damage](raw_mnist(tmp_path / "data"))
    said = refused(3, *TRAIN, "dataset=mnist", f"dataset.root={tmp_path / 'data'}", "dataset.valid=8")
    assert "ubyte" in said


def test_the_tiny_mnist_itself_is_sound(tmp_path: Path) -> None:
    raw_mnist(tmp_path / "data")
    assert main.main([*TRAIN, "dataset=mnist", f"dataset.root={tmp_path / 'data'}", "dataset.valid=8"]) == 0


def bomb(path: Path) -> None:
    Image.new("1", (9000, 9000)).save(path)


PICTURE_DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_bytes(b"not a picture"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:60]),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "bomb": bomb,
    "elf": lambda path: path.write_bytes(b"\x7fELF" + bytes(200)),
}


@pytest.mark.parametrize("damage", PICTURE_DAMAGE)
def test_damaged_pictures_are_named(damage: str, tmp_path: Path, refused: Refused) -> None:
    folder = tmp_path / "data" / "cats"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(folder / f"{i:02}.png")
    PICTURE_DAMAGE[damage](folder / "07.png")
    assert "07.png" in refused(3, *TRAIN, "dataset=folder", f"dataset.root={tmp_path / 'data'}", "dataset.size=16")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "celeba", "lsun", "folder", "frey_faces"])
def test_no_data_says_which_file_goes_where(name: str, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "nothing").mkdir()
    said = refused(3, *TRAIN, f"dataset={name}", f"dataset.root={tmp_path / 'nothing'}")
    assert str(tmp_path / "nothing") in said


@pytest.mark.parametrize("name", ["celeba", "lsun", "folder", "mnist"])
def test_a_root_that_is_not_there(name: str, tmp_path: Path, refused: Refused) -> None:
    refused(3, *TRAIN, f"dataset={name}", f"dataset.root={tmp_path / 'nowhere'}")


# ---------------------------------------------------------------------- runs and checkpoints


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps with two checkpoints."""
    run = tmp_path_factory.mktemp("run") / "run"
    arguments = ["trainer.steps=6", "trainer.batch_size=4", "checkpoint.every=3", "logger=jsonl", "evaluator=none"]
    assert main.main(["train", *arguments, "model.network.hidden=[8]", f"hydra.run.dir={run}"]) == 0
    return run


def every(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """The same damage to one file of every checkpoint."""

    def damage(run: Path) -> None:
        for path in (run / "ckpt").glob(f"step-*/{name}"):
            path.write_bytes(change(path.read_bytes()))

    return damage


def missing(name: str) -> Callable[[Path], object]:
    return lambda run: [path.unlink() for path in (run / "ckpt").glob(f"step-*/{name}")]


def flip(data: bytes) -> bytes:
    at = random.Random(len(data)).randrange(len(data))
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def rehashed(change: Callable[[dict], object]) -> Callable[[Path], object]:
    """The same change to the state in every checkpoint, whose manifest then fits again."""

    def damage(run: Path) -> None:
        for folder in (run / "ckpt").glob("step-*"):
            value, manifest = (json.loads((folder / name).read_text()) for name in ("state.json", "manifest.json"))
            change(value["state"])
            text = json.dumps(value).encode()
            manifest["files"]["state.json"] = {"size": len(text), "sha256": hashlib.sha256(text).hexdigest()}
            (folder / "state.json").write_bytes(text)
            (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))

    return damage


PICKLE = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x0ctouch canary\x94\x85\x94R\x94."
FILES = ("tensors.safetensors", "state.json", "manifest.json")
CONTENT: dict[str, Callable[[bytes], bytes]] = {
    "flipped": flip,
    "cut": lambda data: data[:-1],
    "empty": lambda data: b"",
    "longer": lambda data: data + b" x",
    "pickle": lambda data: PICKLE,
    "deep": lambda data: b"[" * 100_000,
}
RUN_DAMAGE: dict[str, Callable[[Path], object]] = {
    **{f"{name} {how}": every(name, change) for name in FILES for how, change in CONTENT.items()},
    **{f"{name} missing": missing(name) for name in FILES},
    "state of nothing": rehashed(dict.clear),
    "state without structure": rehashed(lambda state: state.pop("structure")),
    "state without a model": rehashed(lambda state: state["structure"].clear()),
    "state without steps": rehashed(lambda state: state.pop("step")),
    "state of text": rehashed(lambda state: state.update(metrics="x")),
    "state of strange memory": rehashed(lambda state: state.update(memory=[1])),
    "a file too many": lambda run: [(p / "code.py").write_text("boom") for p in (run / "ckpt").glob("step-*")],
    "empty folders": lambda run: [[f.unlink() for f in p.iterdir()] for p in (run / "ckpt").glob("step-*")],
    "links": lambda run: [os.replace(p / "state.json", p.parent.parent / p.name)
                          or os.symlink(p.parent.parent / p.name, p / "state.json")
                          for p in (run / "ckpt").glob("step-*")],
    "config cut": lambda run: (run / "config.yaml").write_text("model: {name: ["),
    "config no mapping": lambda run: (run / "config.yaml").write_text("- 1"),
    "config missing": lambda run: (run / "config.yaml").unlink(),
    "config code": lambda run: (run / "config.yaml").write_text(
        "model: !!python/object/apply:os.system [touch canary]"),
    "config bomb": lambda run: (run / "config.yaml").write_text(
        "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))),
    "record cut": lambda run: (run / "run.json").write_text('{"status": "done"'),
    "record no mapping": lambda run: (run / "run.json").write_text("[]"),
}  # fmt: skip


@pytest.mark.parametrize("verb", ["resume", "sample", "eval", "reconstruct"])
@pytest.mark.parametrize("damage", RUN_DAMAGE)
def test_damaged_runs(damage: str, verb: str, finished: Path, tmp_path: Path, refused: Refused) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    RUN_DAMAGE[damage](run)
    more = ["trainer.steps=9"] if verb == "resume" else []
    refused(4, verb, str(run), *more)
    assert not Path("canary").exists()


def test_an_older_checkpoint_is_taken_where_the_newest_is_damaged(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    with open(run / "ckpt" / "step-00000006" / "tensors.safetensors", "r+b") as file:
        file.truncate(100)
    assert main.main(["resume", str(run), "trainer.steps=7"]) == 0
    warning = capsys.readouterr().err
    assert "step-00000006" in warning
    assert "step-00000003" in warning
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))
    assert steps[-1] == 7


HOSTILE = {
    "_target_": {"name": "vae", "_target_": "os.system"},
    "nested _target_": {"name": "vae", "network": {"name": "mlp", "_target_": "os.system", "hidden": [8]}},
    "unknown model": {"name": "os.system"},
    "unknown key": {"name": "vae", "run": "touch canary"},
    "not a mapping": "vae",
    "no name": {"latent_dim": 3},
}


@pytest.mark.parametrize("verb", ["resume", "sample"])
@pytest.mark.parametrize("model", HOSTILE)
def test_a_stored_configuration_runs_no_code(
    model: str, verb: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import yaml

    run = tmp_path / "run"
    shutil.copytree(finished, run)
    stored = yaml.safe_load((run / "config.yaml").read_text())
    stored["model"] = HOSTILE[model]
    (run / "config.yaml").write_text(yaml.safe_dump(stored))
    more = ["trainer.steps=9"] if verb == "resume" else []
    assert main.main([verb, str(run), *more]) in (2, 4)
    err = capsys.readouterr().err
    assert err.count("genlab: error: ") == 1
    assert "Traceback" not in err
    assert not Path("canary").exists()
