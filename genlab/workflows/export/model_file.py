"""A trained model as one file: its weights in safetensors, and beside them what builds it, without code.

The metadata of the file has one entry, `genlab`: JSON with the run's configuration, and what its record says of the
data, the model and its evaluations. Every command that takes a run takes such a file too.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from genlab import __version__
from genlab.checkpoint.safetensors_file import HEADER_LIMIT
from genlab.config import compose
from genlab.distributed.float64 import check_float64
from genlab.distributed.runtime import Runtime, choose_device
from genlab.errors import CheckpointError, ConfigError, GenlabError
from genlab.registry import MODELS
from genlab.runs.record import checked
from genlab.utils.files import dump_json, open_regular, parse_json, read_bounded

if TYPE_CHECKING:
    from genlab.core.model import Model
    from genlab.workflows.build import LoadedRun

KEY = "genlab"
KEPT = ("data", "model", "evaluations", "versions", "git")  # entries of run.json; the others tell of a machine
PLACES = ("root", "path")  # keys of a data set that are paths on the machine of the run
REPAIR = "export the run again"


def dump(loaded: LoadedRun, half: bool = False) -> bytes:
    """The file of a run's model. `half`: floating-point weights as float16; it is read back as float32."""
    record = {key: loaded.record[key] for key in KEPT if loaded.record.get(key) is not None}
    config = {**loaded.config, "dataset": {k: None if k in PLACES else v for k, v in loaded.config["dataset"].items()}}
    about = {"config": config, "record": record, "step": loaded.step, "weights": loaded.weights,
             "version": __version__}  # fmt: skip
    return save(_on_host(loaded.model, half), {"format": "pt", KEY: dump_json(about, indent=None).decode()})


def _on_host(model: Model, half: bool) -> dict[str, Tensor]:
    def stored(tensor: Tensor) -> Tensor:
        kept = tensor.half() if half and tensor.is_floating_point() else tensor
        return kept.cpu().clone(memory_format=torch.contiguous_format)

    return {name: stored(tensor) for name, tensor in model.state_dict().items()}


def read(path: Path, device: str = "auto") -> LoadedRun:
    """The model in a file. CheckpointError if it is damaged, or does not hold what builds it.

    Its `path`, where commands write, is a folder of the file's name beside it. Call `registry.discover` first.
    """
    from genlab.workflows.build import LoadedRun

    about = _about(path)
    config, record = about["config"], {"status": "done", "step": about["step"], **about["record"]}
    try:
        record, config = checked(record), compose.check(config)
        data = record["data"]
        model = MODELS.build(
            config["model"], "model", image_shape=tuple(data["shape"]), num_classes=data["num_classes"]
        )
    except (ConfigError, ValueError, TypeError, KeyError) as error:
        raise _damaged(path, f"its model cannot be built: {' '.join(str(error).split())[:200]}") from None
    digest = _fill(model, path)
    runtime = Runtime(choose_device(device))
    check_float64(model, runtime.device)
    model = model.to(runtime.device).eval().requires_grad_(False)
    weights = "ema" if about["weights"] == "ema" else "raw"
    return LoadedRun(path.with_suffix(""), model, config, record, runtime, record["step"], weights, digest)


def _about(path: Path) -> dict[str, Any]:
    """The entry `genlab` of a file's metadata; reads only the header."""
    try:
        with open(open_regular(path, follow=True), "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= HEADER_LIMIT:
                raise ValueError("no safetensors file, or one with a header that is too long")
            header = parse_json(file.read(length))
        about = parse_json(header["__metadata__"][KEY].encode())
        known = isinstance(about["config"], dict) and isinstance(about["record"], dict)
        if not known or type(about["step"]) is not int:
            raise ValueError("unknown content")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = f"no entry {error}" if isinstance(error, KeyError) else error
        raise _damaged(path, f"it does not say which model it holds ({str(reason)[:100]})") from None
    return about


def _fill(model: Model, path: Path) -> str:
    """Load the weights into the model; the sha256 of the file."""
    own = model.state_dict()
    try:
        content = read_bounded(path, 2 * sum(tensor.nbytes for tensor in own.values()) + HEADER_LIMIT)
        tensors = {
            name: tensor.to(own[name].dtype) if name in own else tensor for name, tensor in load(content).items()
        }
        model.load_state_dict(tensors)
    except GenlabError:
        raise
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, OverflowError) as error:
        said = " ".join(str(error).split())[:150]
        raise _damaged(path, f"its weights do not fit its model ({said})") from None
    return hashlib.sha256(content).hexdigest()


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{path.name} is no model of genlab: {what}", str(path), REPAIR)
