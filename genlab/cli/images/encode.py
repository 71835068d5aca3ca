"""genlab encode: the codes of a data set as a NumPy file, for use elsewhere."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from genlab.cli.images.image_command import ImageCommand, Save, Seed, Target, writing
from genlab.utils.terminal import echo

if TYPE_CHECKING:
    from genlab.data.dataset import Data
    from genlab.workflows.build import LoadedRun

PARTS = ("train", "valid", "test")
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
    out: Annotated[str | None, Field(description="file ending in .npz; null: RUN/codes.npz")] = None
    split: Annotated[Literal["train", "valid", "test", "all"], Field(description="of the data set")] = "all"
    seed: Seed = 0


def encode(loaded: LoadedRun, keys: Keys) -> Save:
    """Codes, labels where there are any, and the split of each image, with a protocol; in the split's order."""
    import numpy as np

    data = loaded.data()
    wanted = PARTS if keys.split == "all" else (keys.split,)
    parts = [_part(loaded, data, name, keys.seed) for name in wanted if keys.split != "all" or data.sizes()[name]]
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    buffer = io.BytesIO()
    np.savez(buffer, protocol=np.array(json.dumps(_protocol(loaded, data, keys))), **arrays)  # type: ignore[arg-type]

    def save(target: Target) -> None:
        with writing(target) as file:
            file.write(buffer.getvalue())
            echo(f"{len(arrays['codes']):,} codes of {arrays['codes'].shape[1]} numbers")

    return save


def _part(loaded: LoadedRun, data: Data, name: str, seed: int) -> dict[str, Any]:
    import numpy as np

    from genlab.core import rng
    from genlab.evaluation.latent import codes

    split = data.split(name)
    rng.seed(seed)
    part = {"codes": codes(loaded.model, split).numpy(), "split": np.full(len(split), name)}
    if data.label_names is not None:
        (labels,) = split.take(len(split), ("label",))
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


COMMAND = ImageCommand(
    "encode", "Write the codes of a data set's images as a NumPy file.", EXAMPLES, Keys, encode, "codes",
    needs=("Encodes",), suffixes=(".npz",), folder="",
)  # fmt: skip
