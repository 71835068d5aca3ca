"""Every option that takes a path, with every odd path, as a user whom file modes stop."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.harness import trained
from tests.harness.endings import ending, unprivileged
from tests.harness.fault_class import Case, FaultClass

LONG = "x" * 300


class Option(NamedTuple):
    """A command with PATH in it or in the environment, the suffix of the path, and what the command does with it."""

    words: list[str]
    use: str  # "read file" | "read folder" | "write file" | "write folder"
    suffix: str = ""
    variable: str = ""


TRAIN = ["train", "trainer.steps=1", "evaluator=none", "logger=jsonl", "trainer.batch_size=4"]
VAE = ["model.network.hidden=[8]", "model.latent_dim=2"]
PREPARED = {
    name: ["prepare", f"dataset={name}", "dataset.root=PATH"]
    for name in ("folder", "mnist", "fashion_mnist", "celeba", "lsun", "unpaired", "paired", "facades", "frey_faces")
}
FEATURES = "{name: features, network: {name: conv, channels: [2]}, outputs: 2, layers: [0], weights: 'PATH'}"
OPTIONS: dict[str, Option] = {
    **{f"dataset.root of {name}": Option(words, "read folder") for name, words in PREPARED.items()},
    "dataset.base.root": Option(["prepare", "dataset=colorize", "dataset.base={name: folder}", "dataset.root=PATH"],
    "read folder"),
    "dataset.path npy": Option(["prepare", "dataset=array", "dataset.path=PATH"], "read file", ".npy"),
    "dataset.path npz": Option(["prepare", "dataset=array", "dataset.path=PATH"], "read file", ".npz"),
    "dataset.samples": Option(["prepare", "dataset=generated", "dataset.real=digits", "dataset.samples=PATH"],
    "read file", ".npy"),
    "dataset.samples list": Option(["prepare", "dataset=generated", "dataset.real=digits", "dataset.samples=[PATH]"],
    "read file", ".npz"),
    "model.perceptual": Option([*TRAIN, *VAE, f"+model.perceptual={FEATURES}"], "read file", ".safetensors"),
    "model.init_from": Option([*TRAIN, "model=classifier", "model.init_from=PATH"], "read folder"),
    "--config-dir": Option([*TRAIN, *VAE, "--config-dir", "PATH"], "read folder"),
    "GENLAB_DATA": Option(["prepare", "dataset=celeba"], "read folder", variable="GENLAB_DATA"),
    "GENLAB_DATA of mnist": Option(["prepare", "dataset=mnist"], "read folder", variable="GENLAB_DATA"),
    "runs": Option(["runs", "PATH"], "read folder"),
    **{f"{command} RUN": Option([command, "PATH"], "read folder") for command in
       ("resume", "sample", "eval", "encode", "info", "anomaly", "translate", "reconstruct", "walk")},
    "project image": Option(["project", "RUN", "steps=1", "image=PATH"], "read file", ".png"),
    "anomaly image": Option(["anomaly", "RUN", "image=PATH"], "read file", ".tif"),
    "denoise image": Option(["denoise", "RUN", "image=PATH"], "read file", ".jpg"),
    "inpaint image": Option(["inpaint", "RUN", "image=PATH"], "read file", ".gif"),
    "translate input": Option(["translate", "PAIRS", "input=PATH"], "read file", ".png"),
    "translate folder": Option(["translate", "PAIRS", "input=photos", "folder=PATH"], "write folder"),
    "hydra.run.dir": Option([*TRAIN, *VAE, "hydra.run.dir=PATH"], "write folder"),
    "hydra.sweep.dir": Option([*TRAIN, *VAE, "-m", "seed=1,2", "hydra.sweep.dir=PATH"], "write folder"),
    "GENLAB_CACHE": Option([*TRAIN, *VAE], "write folder", variable="GENLAB_CACHE"),
    "GENLAB_CACHE of prepare": Option(["prepare", "dataset=folder", "dataset.root=photos", "dataset.size=8"],
    "write folder", variable="GENLAB_CACHE"),
    "sample out": Option(["sample", "RUN", "n=2", "out=PATH"], "write file", ".png"),
    "sample out npy": Option(["sample", "RUN", "n=2", "out=PATH"], "write file", ".npy"),
    "encode out": Option(["encode", "RUN", "split=test", "out=PATH"], "write file", ".npz"),
    "walk out": Option(["walk", "RUN", "n=1", "stops=2", "steps=2", "out=PATH"], "write file", ".gif"),
    "translate out": Option(["translate", "PAIRS", "n=1", "out=PATH"], "write file", ".png"),
}  # fmt: skip
# what stands at the path, by its kind; `{}` is the suffix
ODD: dict[str, str] = {
    "below a closed folder": "closed/inner/x{}", "in a closed folder": "closed/x{}", "of no permission": "forbidden{}",
    "300 letters": LONG + "{}", "300 letters within": f"a/{LONG}/x{{}}", "5,000 letters": "abc/" * 1250 + "x{}",
    "an unknown user": "~nosuchuser/x{}", "/dev/null": "/dev/null", "/dev/zero": "/dev/zero", "a pipe": "pipe{}",
    "a socket": "socket{}", "a broken link": "broken{}", "a loop of links": "loop{}", "within a loop": "loop{}/x{}",
    "below a file": "file/x{}", "empty": "", "a blank": " ", "a folder for a file": "folder{}",
    "a file for a folder": "file{}",
    "in a read-only folder": "readonly/x{}", "a read-only folder": "readonly{}",
    "the root": "/",
    "a closed working folder": "x{}", "NUL": "a\0b{}",
}  # fmt: skip
# pairs that may succeed: what is odd for one use is right for another
FINE = {
    ("a folder for a file", "write folder"), ("a folder for a file", "read folder"),
    ("a read-only folder", "read folder"), ("a read-only folder", "write file"),  # with a suffix it is another name
    ("a broken link", "write file"), ("a broken link", "write folder"), ("of no permission", "write file"),
    ("a file for a folder", "write file"), ("the root", "read folder"),
}  # fmt: skip


def place(folder: Path) -> None:
    """Everything odd, for each suffix, in `folder`."""
    (folder / "closed/inner").mkdir(parents=True)
    (folder / "file").write_text("x")
    (folder / "readonly").mkdir()
    for suffix in {option.suffix for option in OPTIONS.values()}:
        os.mkfifo(folder / f"pipe{suffix}")
        socket.socket(socket.AF_UNIX).bind(os.path.relpath(folder / f"socket{suffix}"))
        (folder / f"broken{suffix}").symlink_to("nothing/at/all")
        (folder / f"loop{suffix}").symlink_to(f"loop{suffix}")
        (folder / f"folder{suffix}").mkdir()
        (folder / f"forbidden{suffix}").write_text("x")
        (folder / f"forbidden{suffix}").chmod(0)
        (folder / f"file{suffix}").write_text("x")


def close(folder: Path, option: Option, kind: str) -> Callable[[], None]:
    """What the child does first: become unprivileged, shut folders, and set the variable."""

    def before() -> None:
        os.environ["GENLAB_CACHE"] = str(folder / "cache")
        if option.variable:
            os.environ[option.variable] = ODD[kind].replace("{}", option.suffix)
        unprivileged()
        os.chmod(folder / "closed", 0)
        os.chmod(folder / "readonly", 0o500)
        if kind == "a closed working folder":
            os.mkdir("shut")
            os.chdir("shut")
            os.chmod(".", 0)

    return before


def trial(case: Case) -> str | None:
    """One option with one odd path ends with code 2 or 3 and one line."""
    pairs = [(name, kind) for name in OPTIONS for kind in ODD]
    name, kind = pairs[case.number * 101 % len(pairs)]  # neighbors differ in both
    option, path = OPTIONS[name], ODD[kind].replace("{}", OPTIONS[name].suffix)
    if option.variable and (not path or "\0" in path):
        return None  # an empty variable is one that is not set; the other cannot be set
    if kind == "the root" and option.use.startswith("write"):
        return None  # it may be allowed: nothing is written outside
    os.chdir(case.folder)
    place(case.folder)
    run = trained.copied("vae", case.shared, case.folder)
    if "PAIRS" in option.words:
        trained.copied("pix2pix", case.shared, case.folder / "pairs")
    words = [word.replace("PATH", path).replace("RUN", str(run)).replace("PAIRS", "pairs/run") for word in option.words]
    allowed = (0, 2, 3) if (kind, option.use) in FINE else (2, 3)
    wrong = ending(words, case.folder, close(case.folder, option, kind)).wrong(allowed)
    return f"{name}, {kind}: {wrong}" if wrong else None


FAULTS = [
    FaultClass("paths", "an odd path for any option: code 2 or 3, one line", len(OPTIONS) * len(ODD), trial, 1, 12)
]
