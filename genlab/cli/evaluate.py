"""genlab eval: measure a trained model, and record how it was measured."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import StringConstraints

from genlab.cli.images.image_command import Target, open_run, write
from genlab.cli.options import Parser, keywords, run_argument
from genlab.errors import ConfigError, nearest
from genlab.registry import EVALUATORS, NonNegativeInt
from genlab.runs.evaluations import FOLDER
from genlab.utils.tables import show
from genlab.utils.terminal import echo

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

    from genlab.core.evaluator import Evaluator
    from genlab.core.values import Image
    from genlab.workflows.build import LoadedRun
    from genlab.workflows.evaluation import Measurement

EXAMPLES = """\
  genlab eval last                                                the model's objective on the test split
  genlab eval last evaluator=fid evaluator.fid.images=2000 split=valid
  genlab eval last evaluator=fid repeats=10                       mean and deviation over ten sampling seeds, not three
  genlab eval last evaluator=[fid,prdc] seed=1                    several, with other noise
  genlab eval last evaluator=probe evaluator.probe.num_labels=1000 name=probe_1000    a shorter name for the result
"""


@dataclass(frozen=True)
class Keys:
    """The keys besides `evaluator` and `evaluator.NAME.KEY`."""

    split: Literal["train", "valid", "test"] = "test"
    seed: NonNegativeInt | None = None
    repeats: Annotated[int, Ge(1), Le(100)] | None = None  # None: the evaluator's own
    name: Annotated[str, StringConstraints(pattern=r"^\w{1,64}$")] | None = None  # of the result


def parser() -> Parser:
    parse = Parser("eval", "Measure a trained model; each protocol has its own file in RUN/eval.", EXAMPLES)
    run_argument(parse)
    parse.add_argument(
        "options",
        nargs="*",
        metavar="KEY=VALUE",
        help="evaluator (objective) and evaluator.NAME.KEY as in training; split: train, valid or test; seed; "
        "repeats: how many seeds, whose mean and standard deviation are the result (3 for figures of samples, such as "
        "fid, else 1); name of the result, in place of evaluator and options",
    )
    parse.flags("checkpoint", "device", "plugin")
    return parse


def run(options: argparse.Namespace) -> int:
    evaluate(options)
    return 0


def evaluate(options: argparse.Namespace) -> list[dict[str, Any]]:
    """What the command does: the result of each evaluator, as its file has it, and its `images` by name."""
    from genlab.config import overrides

    chosen = [item for item in options.options if item.lstrip("+~").startswith(("evaluator=", "evaluator."))]
    parsed = overrides.parse(chosen, {})
    groups: list[Any] = [override.value() for override in parsed if override.key_or_group == "evaluator"]
    last = groups[-1] if groups else "objective"
    names = [str(name) for name in (last if isinstance(last, list) else [last])]
    others = [item for item in options.options if item not in chosen]
    for item in others:
        _check_key(item.partition("=")[0], names)
    keys = Keys(**keywords(Keys, others))
    if keys.name and len(names) > 1:
        raise ConfigError(f"one name for the results of {len(names)} evaluators", "key name", "choose one evaluator")
    loaded = open_run(options)
    changes = [override for override in parsed if override.key_or_group != "evaluator"]
    from genlab.workflows.evaluation import Measurement, Result, publish

    seed = loaded.config["seed"] if keys.seed is None else keys.seed
    results, found = list[Result](), list[dict[str, Any]]()
    try:
        for entry, evaluator in _evaluators(loaded, names, changes).items():
            split = None if evaluator.split is None else keys.split
            repeats = keys.repeats or evaluator.repeats
            measurement = Measurement(loaded, entry, evaluator, split, seed, repeats, keys.name)
            written, images = measure(measurement)
            results.append(Result(measurement.group, written["metrics"], images))
            found.append({**written, "images": images})
            show_result(written)
    finally:  # those before one that failed, or that nobody read
        publish(loaded, results)
    return found


def _check_key(key: str, names: Sequence[str]) -> None:
    """ConfigError for an unknown key; one of an evaluator is shown with its path."""
    from genlab.config.compose import search_path
    from genlab.config.precheck import known_specs

    known = [field.name for field in fields(Keys)]
    if key in known:
        return
    of_evaluators = known_specs(search_path(), "evaluator")
    full = [f"evaluator.{name}.{key}" for name in names if key in of_evaluators.get(name, ())]
    hint = f"did you mean '{full[0]}'?" if full else nearest(key, [*known, "evaluator"])
    raise ConfigError(f"unknown key '{key[:60]}'", "genlab eval has no such key", hint)


def measure(measurement: Measurement) -> tuple[dict[str, Any], dict[str, Image]]:
    """Write and return what one evaluator found: `metrics`, `protocol` and `diagnoses`; and images, as PNG files."""
    from genlab.core.values import Diagnosis, Image
    from genlab.engine.evaluate import numbers
    from genlab.utils.files import dump_json
    from genlab.workflows.evaluation import finite

    path, step = measurement.loaded.path, measurement.loaded.step
    stem, hint = f"{FOLDER}/{measurement.stem}", "allow it, then evaluate again"
    values, protocol = measurement.run()
    diagnoses = [value.sentence for _, value in values if isinstance(value, Diagnosis) and value.due(step)]
    result = {"metrics": finite(numbers(values)), "protocol": protocol, "diagnoses": diagnoses}
    write(Target(path, f"{stem}.json", hint), dump_json(result))
    images = {name: value for name, value in values if isinstance(value, Image)}
    for name, image in images.items():
        write(Target(path, f"{stem}-{name.replace('/', '-')}.png", hint), image.png)
    return result, images


def show_result(result: dict[str, Any]) -> None:
    """Print the numbers and diagnoses."""
    protocol = result["protocol"]
    for sentence in result["diagnoses"]:
        echo(f"diagnosis: {sentence}")
    if result["metrics"]:
        rows = [[name, "not finite" if value is None else f"{value:.6g}"] for name, value in result["metrics"].items()]
        show(["metric", "value"], rows, " on ".join(filter(None, (protocol["evaluator"], protocol["split"]))))
    if "caution" in protocol:
        echo(f"caution: {protocol['caution']}")


def _evaluators(loaded: LoadedRun, names: Sequence[str], changes: Sequence[Override]) -> dict[str, Evaluator]:
    """The chosen evaluators. Those of a file that lists several (evaluator=default) are left out if they do not apply
    to the model."""
    from genlab.workflows.evaluation import configured

    built = configured(loaded.config, names, changes)
    for entry, evaluator in built.items():
        if entry in names and not evaluator.applies(loaded.model):
            _refuse(loaded, entry, evaluator)
    return {entry: evaluator for entry, evaluator in built.items() if evaluator.applies(loaded.model)}


def _refuse(loaded: LoadedRun, entry: str, evaluator: Evaluator) -> None:
    """ConfigError that names what does apply: the same evaluator with another key, or other evaluators."""
    conditions = " and ".join(loaded.model.conditions)
    option = evaluator.instead(loaded.model)
    others = [name for name in EVALUATORS.names() if EVALUATORS.get(name)().applies(loaded.model)]
    raise ConfigError(
        f"evaluator '{entry}' does not apply to model '{loaded.config['name']}'"
        + (f", which takes the {conditions} of an image as input" if conditions else ""),
        f"run {loaded.path}",
        f"use evaluator.{entry}.{option}" if option else f"these apply: {', '.join(others)}",
    )
