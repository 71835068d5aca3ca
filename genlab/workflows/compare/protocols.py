"""What a number depends on, in a form in which equal is the same: numbers of other protocols are not compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from genlab.workflows.compare.groups import Run

OWN_UNITS = "as the model's losses"  # the `units` of an evaluator whose numbers only runs of one model share
# keys of `model` that leave the objective what it is: networks and sizes
SIZES = (
    "network", "generator", "discriminator", "encoder", "decoder", "head", "body", "latent_dim", "hidden",
    "num_embeddings", "embedding_dim", "couplings", "scales", "mapping_layers", "channel_base", "channel_max",
)  # fmt: skip
# keys of `model` that say in which units all its numbers are: the distribution of the pixels, and what pixels are
UNITS = ("likelihood", "visible", "loss", "binarize", "dequantize")
# entries of a protocol that may differ: which noise, which checkpoint, on which machine; and names of numbers
FREE = ("seed", "repeats", "step", "weights", "checkpoint_sha256", "device", "genlab", "caution", "metrics")


def of_result(protocol: Mapping[str, Any], run: Run, name: str = "") -> dict[str, Any]:
    """The entries that two numbers must share. Of numbers in the model's own units: also UNITS, and of a loss what
    defines it, which is every key of `model` but SIZES. Weights other than those that the run saves its metrics of
    (averaged, if it averages) are named: a run may have results of both."""
    kept = _without(protocol, FREE)
    if "weights" in protocol and protocol["weights"] != _usual_weights(run):
        kept["weights"] = protocol["weights"]
    if kept.get("units") == OWN_UNITS:
        model = run.config["model"]
        is_loss = name.rpartition("/")[2] == "loss"
        defining = _without(model, SIZES) if is_loss else taken(model, ("name", *UNITS))
        kept |= {f"model.{key}": value for key, value in defining.items()}
    normal: dict[str, Any] = _normal(kept)
    return normal


def of_training(run: Run, full: str) -> dict[str, Any]:
    """Of a metric of training, such as valid/fid: the protocols of the evaluators that found it, but not that of the
    losses, which says no more than how large its batches are."""
    found_by = {key: _without(each, FREE) for key, each in (run.record.get("protocols") or {}).items()
                if _has_found(key, each, full) and each.get("units") != OWN_UNITS}  # fmt: skip
    own = {} if found_by else {"units": OWN_UNITS}
    data = {"data_fingerprint": (run.record["data"] or {}).get("fingerprint")}
    return of_result({**found_by, **own, **data}, run, full)


def _has_found(evaluator: str, protocol: Mapping[str, Any], full: str) -> bool:
    """Whether the evaluator found the number `full` (valid/fid). Older runs do not say: if it is named after it."""
    names = protocol.get("metrics")
    return full in names if isinstance(names, list) else evaluator in full.partition("/")[2]


def _usual_weights(run: Run) -> str:
    trainer = run.config.get("trainer")
    return "ema" if isinstance(trainer, Mapping) and trainer.get("ema_decay") else "raw"


def _without(found: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key not in keys}


def taken(found: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """The entries of `keys` that are there."""
    return {key: found[key] for key in keys if key in found}


def text(value: Any) -> str:
    """JSON, the same for equal values: Python calls 1 and True equal, which JSON does not."""
    return json.dumps(value, sort_keys=True)


def _normal(value: Any) -> Any:
    """A JSON value with whole floats as ints (2 for 2.0) and without keys that are null."""
    if isinstance(value, Mapping):
        return {key: _normal(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_normal(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
