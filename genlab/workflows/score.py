"""Anybody's samples under genlab's protocol: the evaluators that measure samples alone, with standard errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab import __version__
from genlab.core.values import Diagnosis, Image
from genlab.data.adapt import build_dataset
from genlab.data.store import isolate
from genlab.data.store.encoded import Encoded, sizes
from genlab.engine.evaluate import evaluate, numbers
from genlab.errors import ConfigError
from genlab.evaluation.given_samples import GivenSamples
from genlab.registry import EVALUATORS
from genlab.workflows.evaluation import finite

if TYPE_CHECKING:
    from genlab.core.evaluator import Evaluator
    from genlab.core.values import Value
    from genlab.data.dataset import Data
    from genlab.distributed.runtime import Runtime

STANDARD_ERROR = "_se"  # ending of a number's standard error
FIXED = ("_floor", "_real")  # endings of numbers that do not depend on the samples


def read_samples(path: Path, data: Data, seed: int, runtime: Runtime) -> GivenSamples:
    """The images of a file of numbers or a folder, of which `seed` draws some if an evaluator measures fewer.

    ConfigError unless they have the shape of the data's images.
    """
    channels, height, width = data.shape
    if path.is_dir():
        if height != width:
            raise ConfigError(
                "images in a folder are read as squares", f"folder {path}", "give a file of numbers, .npz"
            )
        spec: dict[str, Any] = {"name": "folder", "root": str(path), "size": height, "channels": channels}
    else:
        spec = {"name": "array", "path": str(path)}
    dataset = build_dataset({**spec, "valid": 0, "test": 0, "split_seed": seed}, "samples", seed=seed)
    if path.is_dir():
        _check_sizes(dataset.read().images, (width, height))
    samples = dataset.open(runtime.device)
    if tuple(samples.shape) != tuple(data.shape):
        raise ConfigError(
            f"the samples are {tuple(samples.shape)} and the images of {data.name} {tuple(data.shape)}",
            f"{path}",
            f"give the data their size (dataset.size={samples.shape[-1]}), or sample again",
        )
    return GivenSamples(samples.split("train"))


def prepared(given: GivenSamples, evaluator: Evaluator, data: Data, split: str, blocks: int) -> GivenSamples:
    """The samples that the evaluator measures: all, or as many as its `images`, drawn by their seed.

    ConfigError if it does not measure samples alone, if they or the data do not suit it, or for too many blocks.
    """
    if not evaluator.measures_samples or not evaluator.applies(given):
        able = [name for name in EVALUATORS.names() if getattr(EVALUATORS.get(name), "measures_samples", False)]
        raise ConfigError(f"{evaluator.key} does not measure samples alone", "key evaluator", f"use {', '.join(able)}")
    wanted: int = evaluator.images  # type: ignore[attr-defined]  # all that measure samples alone have it
    used = given if len(given) <= wanted else GivenSamples(given.split.drawn(wanted))
    if blocks == 1 or blocks > len(used) // 2:
        raise ConfigError(
            f"{len(used)} samples cannot be cut into {blocks} blocks", "key blocks", "use 10, or 0 for none"
        )
    evaluator.check(used, data.split(split))
    return used


def score(
    used: GivenSamples, evaluator: Evaluator, data: Data, split: str, seed: int, blocks: int
) -> tuple[dict[str, Any], dict[str, Image]]:
    """What an evaluator says of `prepared` samples: `metrics`, `protocol` and `diagnoses`, and images.

    Each number that depends on the samples has its standard error behind it, by the jackknife: the evaluator is run
    `blocks` more times, each time without one block of the samples, and with θ_b its number without block b,
    se² = (B − 1)/B · Σ_b (θ_b − mean θ)². There are none for evaluators that draw subsets or pairs at random, or if the
    samples without a block are too few for the evaluator.
    """
    values = _values(evaluator, used, data, split, seed)
    protocol: dict[str, Any] = {
        "evaluator": evaluator.key.rpartition(".")[2], **evaluator.protocol(), "split": split, "seed": seed,
        "samples_used": len(used), "blocks": blocks if evaluator.smooth else 0, "dataset": data.name,
        "data_fingerprint": data.fingerprint, "split_seed": data.split_seed, "precision": "fp32",
        "genlab": __version__,
    }  # fmt: skip
    without = []
    try:
        for block in range(protocol["blocks"]):
            without.append(numbers(_values(evaluator, used.without(block, blocks), data, split, seed)))
    except ConfigError as error:
        protocol["blocks"], without = 0, []
        protocol["errors"] = f"none: without a block, {error}"
    metrics = with_errors(numbers(values), without)
    diagnoses = [value.sentence for _, value in values if isinstance(value, Diagnosis)]
    images = {name: value for name, value in values if isinstance(value, Image)}
    return {"metrics": finite(metrics), "protocol": protocol, "diagnoses": diagnoses}, images


def with_errors(metrics: Mapping[str, float], without: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The metrics, each that depends on the samples with its standard error behind it."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        found[name] = value
        each = [other[name] for other in without if name in other]
        fixed = name.endswith(FIXED) and not name.endswith("_at_floor")
        if len(each) > 1 and not fixed:
            found[f"{name}{STANDARD_ERROR}"] = jackknife_error(each)
    return found


def jackknife_error(without: Sequence[float]) -> float:
    """The standard error of a number from its values without each of B blocks (Efron & Stein 1981)."""
    mean, count = math.fsum(without) / len(without), len(without)
    return math.sqrt((count - 1) / count * math.fsum((value - mean) ** 2 for value in without))


def _values(evaluator: Evaluator, given: GivenSamples, data: Data, split: str, seed: int) -> list[tuple[str, Value]]:
    evaluator.images = len(given)  # type: ignore[attr-defined]
    return evaluate(evaluator, given, data, seed, split)


def _check_sizes(encoded: Encoded, wanted: tuple[int, int]) -> None:
    """ConfigError if an image has another size: resizing would change every number."""
    for name, size in isolate.run([(sizes, (encoded,))], what=encoded.location()):
        if size != wanted:
            raise ConfigError(
                f"{name} is {size[0]}x{size[1]}, the images of the data are {wanted[0]}x{wanted[1]}",
                f"folder {encoded.location()}",
                "give the data the size of the samples: dataset.size=N",
            )
