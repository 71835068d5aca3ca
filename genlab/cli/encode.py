"""genlab encode: the codes of a data set, for use elsewhere."""

from __future__ import annotations

import argparse
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genlab.cli.images import drawing
from genlab.cli.options import Parser, keywords
from genlab.errors import ConfigError, ResourceError, resource_error
from genlab.registry import NonNegativeInt

if TYPE_CHECKING:
    from genlab.data.dataset import Data
    from genlab.workflows.build import LoadedRun

PARTS = ("train", "valid", "test")
KEYS = drawing.keys_text(
    out="file ending in .npz (RUN/codes.npz)", split="train, valid, test or all (all)", seed="of the noise, if any (0)"
)
EXAMPLES = """\
  genlab encode last
  genlab encode last split=test out=features.npz

in Python:
  with numpy.load("features.npz") as file:
      codes, labels, split = file["codes"], file["labels"], file["split"]   (N, D), (N,), (N,) of "train", ...
      protocol = json.loads(str(file["protocol"]))
"""


@dataclass(frozen=True)
class Keys:
    """What may be given as key=value."""

    out: str | None = None
    split: Literal["train", "valid", "test", "all"] = "all"
    seed: NonNegativeInt = 0


def parser() -> Parser:
    return drawing.picture_parser("encode", "Write the codes of a data set's images as a NumPy file.", KEYS, EXAMPLES)


def run(options: argparse.Namespace) -> int:
    keys = Keys(**keywords(Keys, options.options))
    if keys.out is not None and not keys.out.endswith(".npz"):
        raise ConfigError(f"'{keys.out}' is no NumPy archive", "key out", "give a name ending in .npz")
    encode(drawing.open_run(options), keys)
    return 0


def encode(loaded: LoadedRun, keys: Keys) -> None:
    """Codes, labels where there are any, and the split of each image, with how they were made; in the split's order."""
    import numpy as np

    from genlab.core.model import Encodes

    drawing.require(loaded, Encodes)
    data = loaded.data()
    wanted = PARTS if keys.split == "all" else (keys.split,)
    parts = [_part(loaded, data, name, keys.seed) for name in wanted if keys.split != "all" or data.sizes()[name]]
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    buffer = io.BytesIO()
    np.savez(buffer, protocol=np.array(json.dumps(_protocol(loaded, data, keys))), **arrays)  # type: ignore[arg-type]
    path = Path(keys.out).expanduser() if keys.out else loaded.path / "codes.npz"
    _write(path, buffer.getvalue())
    print(f"{len(arrays['codes']):,} codes of {arrays['codes'].shape[1]} numbers")
    print(path)


def _part(loaded: LoadedRun, data: Data, name: str, seed: int) -> dict[str, Any]:
    import numpy as np
    import torch

    from genlab.core import rng
    from genlab.evaluation.latent import codes

    split = data.split(name)
    rng.seed(seed)
    with torch.no_grad():
        part = {"codes": codes(loaded.model, split).numpy(), "split": np.full(len(split), name)}
    if data.label_names is not None:
        (labels,) = split.first(len(split), ("label",))
        part["labels"] = labels.cpu().numpy()
    return part


def _protocol(loaded: LoadedRun, data: Data, keys: Keys) -> dict[str, Any]:
    from genlab import __version__

    return {
        "run": str(loaded.path), "model": loaded.config["model"]["name"], "step": loaded.step,
        "weights": loaded.weights, "dataset": data.name, "data_fingerprint": data.fingerprint,
        "label_names": data.label_names, "split": keys.split, "seed": keys.seed,
        "device": str(loaded.runtime.device), "precision": "fp32", "genlab": __version__,
    }  # fmt: skip


def _write(path: Path, content: bytes) -> None:
    from genlab.utils import files

    try:
        files.write_atomic(path, content)
    except OSError as error:
        known: ResourceError | None = resource_error(error)
        raise known or ConfigError(
            f"cannot write it ({error.strerror})", f"file {path}", "give another out=..."
        ) from None
