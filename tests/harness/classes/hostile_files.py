"""Files made to harm, in place of every kind of file that a user may have from a stranger."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from scipy.io import savemat

from tests.harness import odd, trained
from tests.harness.endings import ending
from tests.harness.fault_class import Case, FaultClass
from tests.harness.payloads import CANARY, PAYLOADS, Touch
from tests.support import synthetic

ALLOWED = (0, 2, 3, 4, 5)  # a damaged file may still be a file of its kind; 5: it needs more memory than there is
GOOD = np.arange(24 * 64, dtype=np.uint8).reshape(24, 1, 8, 8)
KINDS = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "webp": "WEBP", "tif": "TIFF", "bmp": "BMP", "ppm": "PPM"}
FEATURES = (
    "{name: features, network: {name: conv, channels: [2]}, outputs: 2, layers: [0], weights: good/weights.safetensors}"
)
PERCEPTUAL = [
    "train",
    "dataset=digits",
    "trainer.steps=1",
    "evaluator=none",
    "model.network.hidden=[8]",
    f"model.perceptual={FEATURES}",
]
VERBS = [["project", "RUN", "steps=1"], ["anomaly", "RUN"], ["denoise", "RUN"], ["inpaint", "RUN"]]


def images(folder: Path, rng: random.Random) -> list[str]:
    """A folder of images of all formats, and what reads it."""
    folder.mkdir()
    for number in range(12):
        suffix = rng.choice(list(KINDS))
        synthetic.photo(number, 40, 30).save(folder / f"{number:02}.{suffix}", KINDS[suffix])
    verb = rng.choice(VERBS)
    data = [["prepare", "dataset=folder", "dataset.root=good", "dataset.size=16"],
            ["prepare", "dataset=unpaired", "dataset.root=good", "dataset.size=16"],
            ["prepare", "dataset=paired", "dataset.root=good", "dataset.size=16"]]  # fmt: skip
    return rng.choice([[*verb, "image=good"], rng.choice(data)])


def array(folder: Path, rng: random.Random) -> list[str]:
    """A file of numbers, and what reads it."""
    folder.mkdir()
    suffix = rng.choice(["npy", "npz", "safetensors"])
    file = folder / f"array.{suffix}"
    if suffix == "npy":
        np.save(file, GOOD)
    elif suffix == "npz":
        np.savez(file, image=GOOD, label=np.arange(24) % 3)
    else:
        file.write_bytes(save({"image": torch.from_numpy(GOOD)}))
    if suffix == "safetensors" or rng.random() < 0.5:
        return ["prepare", "dataset=generated", "dataset.real=digits", f"dataset.samples=good/{file.name}"]
    return ["prepare", "dataset=array", f"dataset.path=good/{file.name}"]


def weights(folder: Path, rng: random.Random) -> list[str]:
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(save({"0.weight": torch.zeros(2, 1, 3, 3)}))
    return PERCEPTUAL


def inception(folder: Path, rng: random.Random) -> list[str]:
    folder.mkdir()
    name = "pt_inception-2015-12-05-6726825d." + rng.choice(["pth", "safetensors"])
    (folder / "inception").mkdir()
    with (folder / "inception" / name).open("wb") as file:
        torch.save({"a": torch.zeros(2)}, file)
    os.environ["GENLAB_DATA"] = str(folder)
    return ["eval", "RUN", "evaluator=fid", "evaluator.fid.extractor=inception", "evaluator.fid.images=20"]


def faces(folder: Path, rng: random.Random) -> list[str]:
    folder.mkdir()
    savemat(folder / "frey_rawface.mat", {"ff": np.zeros((560, 40), np.uint8)}, do_compression=rng.random() < 0.5)
    return ["prepare", "dataset=frey_faces", "dataset.root=good"]


def mnist(folder: Path, rng: random.Random) -> list[str]:
    synthetic.mnist(folder, gz=rng.random() < 0.7)
    return ["prepare", "dataset=mnist", "dataset.root=good", "dataset.valid=8"]


def celeba(folder: Path, rng: random.Random) -> list[str]:
    synthetic.celeba(folder, zipped=rng.random() < 0.5)
    return ["prepare", "dataset=celeba", "dataset.root=good", "dataset.size=16"]


def lsun(folder: Path, rng: random.Random) -> list[str]:
    synthetic.lsun(folder)
    (folder / "lsun/bedroom_train_lmdb/_cache_good").write_bytes(pickle.dumps(Touch()))
    return ["prepare", "dataset=lsun", "dataset.root=good", "dataset.category=bedroom", "dataset.size=16"]


SETS = {"images": images, "array": array, "weights": weights, "inception": inception, "faces": faces, "mnist": mnist,
        "celeba": celeba, "lsun": lsun}  # fmt: skip


def replace(case: Case, folder: Path) -> str:
    """Put something harmful in the place of one file below `folder`; what, and where."""
    rng, file = case.rng, case.rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    name = file.relative_to(folder)
    match rng.randrange(10):
        case 0 | 1 | 2 | 3:
            file.write_bytes(odd.damaged(rng, file.read_bytes()))
            return f"{name}, damaged"
        case 4:
            file.unlink()
            what = rng.choice(["a pipe", "a folder", "/dev/zero", "nothing", "itself"])
            made = {"a pipe": os.mkfifo, "a folder": os.mkdir}
            made[what](file) if what in made else file.symlink_to(
                {"/dev/zero": what, "nothing": what, "itself": file.name}[what]
            )
            return f"{name}, {what}"
        case 5:
            with file.open("r+b") as opened:
                opened.truncate(rng.choice([0, 2**30, 2**34]))
            return f"{name} of {file.stat().st_size} bytes"
        case _:
            kind = rng.choice(list(PAYLOADS))
            file.write_bytes(PAYLOADS[kind]())
            return f"{name}, {kind}"


def trial(case: Case) -> str | None:
    """One command on one hostile file executes nothing and ends in bounded memory with a documented code."""
    kind = list(SETS)[case.number % len(SETS)]
    run = trained.copied("vae", case.shared, case.folder)
    words = trained.words(SETS[kind](case.folder / "good", case.rng), run)
    what = replace(case, case.folder / "good")

    def own_cache() -> None:
        os.environ["GENLAB_CACHE"] = str(case.folder / "cache")

    wrong = ending(words, case.folder, own_cache).wrong(ALLOWED)
    if (case.folder / CANARY).exists() or Path("/tmp/canary-of-the-harness").exists():
        wrong = "code was executed, or a file written outside"
    return f"genlab {words} with {what}: {wrong}" if wrong else None


FAULTS = [
    FaultClass("hostile_files", "a hostile file: nothing executed, bounded memory, code 2 to 5", 1000, trial, 1, 10)
]
