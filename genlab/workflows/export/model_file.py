"""A trained model as one file: its weights in safetensors, and beside them what builds it, without code.

The metadata of the file has one entry, `genlab`: JSON with the run's configuration, and what its record says of the
data, the model and its evaluations. Commands that use a run's model take such a file in its place.
"""

from __future__ import annotations

import hashlib
import math
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
from genlab.runs.run_folder import is_run
from genlab.utils.files import dump_json, open_regular, parse_json, read_bounded

if TYPE_CHECKING:
    from genlab.core.model import Model
    from genlab.workflows.build import LoadedRun

KEY, METADATA = "genlab", "__metadata__"
KEPT = ("data", "model", "evaluations", "versions", "git")  # entries of run.json; the others tell of a machine
PLACES = ("root", "path", "samples", "init_from", "weights")  # keys that are paths on the machine of the run
MOST_VALUES = 2**28  # in an image of a model that can only be built at once
REPAIR = "export the run again"


def dump(loaded: LoadedRun, half: bool = False) -> bytes:
    """The file of a run's model. `half`: floating-point weights as float16; it is read back as float32."""
    record = {key: loaded.record[key] for key in KEPT if loaded.record.get(key) is not None}
    about = {"config": _without_paths(loaded.config), "record": record, "step": loaded.step, "weights": loaded.weights,
             "version": __version__}  # fmt: skip
    return save(_on_host(loaded.model, half), {"format": "pt", KEY: dump_json(about, indent=None).decode()})


def _without_paths(value: Any) -> Any:
    """A configuration without the paths in it, which lead nowhere elsewhere and tell of the machine."""
    if isinstance(value, dict):
        return {key: None if key in PLACES else _without_paths(each) for key, each in value.items()}
    return [_without_paths(each) for each in value] if isinstance(value, list) else value


def _on_host(model: Model, half: bool) -> dict[str, Tensor]:
    """The weights as they are stored; ConfigError for one that float16 cannot hold."""

    def stored(name: str, tensor: Tensor) -> Tensor:
        kept = tensor.half() if half and tensor.is_floating_point() else tensor
        if kept is not tensor and not kept.isfinite().equal(tensor.isfinite()):
            raise ConfigError(f"'{name}' has values that float16 cannot hold", "key half", "leave it out")
        return kept.cpu().clone(memory_format=torch.contiguous_format)

    return {name: stored(name, tensor) for name, tensor in model.state_dict().items()}


def read(path: Path, device: str = "auto") -> LoadedRun:
    """The model in a file. CheckpointError if it is damaged, or does not hold what builds it.

    Its `path`, where commands write, is a folder of the file's name beside it. Call `registry.discover` first.
    """
    from genlab.workflows.build import LoadedRun

    header = _header(path)
    about = _about(path, header)
    record = {"status": "done", "step": about["step"], **about["record"]}
    try:
        record, config = checked(record), compose.check(about["config"])
        model = _built(config["model"], record["data"], header)
    except (ConfigError, ValueError, TypeError, KeyError, RuntimeError, ArithmeticError) as error:
        raise _damaged(path, f"its model cannot be built: {' '.join(str(error).split())[:200]}") from None
    digest = _fill(model, path)
    runtime = Runtime(choose_device(device))
    check_float64(model, runtime.device)
    model = model.to(runtime.device).eval().requires_grad_(False)
    weights = "ema" if about.get("weights") == "ema" else "raw"
    folder = path.with_suffix("")
    folder = path.with_suffix(".results") if is_run(folder) else folder  # not into the folder of that run
    return LoadedRun(folder, model, config, record, runtime, record["step"], weights, digest)


def _built(spec: Any, data: Any, header: dict[str, Any]) -> Model:
    """The model, of which the file holds all weights: built first without memory, and compared with the header.

    ValueError for other names or shapes: a small file cannot ask for a large model.
    """
    keys = {"image_shape": tuple(data["shape"]), "num_classes": data["num_classes"]}
    try:
        with torch.device("meta"):
            outline: Model = MODELS.build(spec, "model", **keys)
    except ConfigError:
        raise
    except RuntimeError:  # of a model whose constructor computes with its weights
        if math.prod(data["shape"]) > MOST_VALUES:
            raise
    else:
        wanted = {name: list(tensor.shape) for name, tensor in outline.state_dict().items()}
        found = {name: entry["shape"] for name, entry in header.items() if name != METADATA}
        if wanted != found:
            name = next(name for name in {**wanted, **found} if wanted.get(name) != found.get(name))
            raise ValueError(f"'{name[:60]}' is {found.get(name, 'missing')}, not {wanted.get(name, 'part of it')}")
    built: Model = MODELS.build(spec, "model", **keys)
    return built


def _header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: names and shapes of the tensors, and the metadata."""
    try:
        with open(open_regular(path, follow=True), "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= HEADER_LIMIT:
                raise ValueError("no safetensors file, or one with a header that is too long")
            header = parse_json(file.read(length))
        if not isinstance(header, dict) or not all(isinstance(each, dict) for each in header.values()):
            raise ValueError("unknown content")
    except (OSError, ValueError) as error:
        raise _damaged(path, f"it cannot be read ({str(error)[:100]})") from None
    return header


def _about(path: Path, header: dict[str, Any]) -> dict[str, Any]:
    """The entry `genlab` of a file's metadata."""
    try:
        about = parse_json(header[METADATA][KEY].encode())
        known = isinstance(about["config"], dict) and isinstance(about["record"], dict)
        if not known or type(about["step"]) is not int:
            raise ValueError("unknown content")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
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
    return CheckpointError(f"{path.name} is not a genlab model: {what}", str(path), REPAIR)
