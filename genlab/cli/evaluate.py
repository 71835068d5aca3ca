"""genlab eval: measure a trained model, and write down how it was measured."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import StringConstraints

from genlab.cli.images import image_command
from genlab.cli.options import Parser, keywords, run_argument
from genlab.errors import ConfigError
from genlab.registry import EVALUATORS, NonNegativeInt
from genlab.utils.tables import show

if TYPE_CHECKING:
    from genlab.core.values import Value
    from genlab.workflows.build import LoadedRun

EXAMPLES = """\
  genlab eval last                                  the model's objective on the test split
  genlab eval last evaluator=objective split=valid
  genlab eval last evaluator=samples n=100          an evaluator's own keys follow
  genlab eval last evaluator=probe num_labels=1000 name=probe_1000    a name of its own beside evaluator=probe
"""


@dataclass(frozen=True)
class Keys:
    """What may be given as key=value, beside the evaluator's own keys."""

    evaluator: str = "objective"
    split: Literal["train", "valid", "test"] = "test"
    seed: NonNegativeInt | None = None
    name: Annotated[str, StringConstraints(pattern=r"^\w{1,64}$")] | None = None  # of the result


def parser() -> Parser:
    parse = Parser("eval", "Measure a trained model; the result is RUN/eval/EVALUATOR-SPLIT.json.", EXAMPLES)
    run_argument(parse)
    parse.add_argument(
        "options",
        nargs="*",
        metavar="KEY=VALUE",
        help="evaluator: name (objective); split: train, valid or test; seed; name of the file; evaluator's keys",
    )
    image_command.add_loading(parse)
    return parse


def run(options: argparse.Namespace) -> int:
    own = [field.name for field in fields(Keys)]
    keys = Keys(**keywords(Keys, [item for item in options.options if item.partition("=")[0] in own]))
    others = [item for item in options.options if item.partition("=")[0] not in own]
    for item in others:
        if "=" not in item:
            raise ConfigError(f"{item[:60]!r} is no option", "genlab eval", "write key=value, e.g. split=valid")
    measure(image_command.open_run(options), keys, others)
    return 0


def measure(loaded: LoadedRun, keys: Keys, changes: list[str]) -> dict[str, Any]:
    """Run one evaluator and write its numbers with their protocol, pictures as PNG beside them."""
    from genlab import __version__
    from genlab.core.values import Diagnosis
    from genlab.engine import evaluate
    from genlab.utils import files

    evaluator, split = keys.evaluator, keys.split
    judge = _build(loaded, evaluator, changes)
    if not judge.applies(loaded.model):
        given = " and ".join(loaded.model.conditions)
        raise ConfigError(
            f"evaluator '{evaluator}' does not apply to model '{loaded.config['name']}'"
            + (f", which is given the {given} of an image" if given else ""),
            f"run {loaded.path}",
            _instead(judge, loaded, evaluator),
        )
    seed = loaded.config["seed"] if keys.seed is None else keys.seed
    data = loaded.data()
    reads = judge.split is not None
    values = evaluate.evaluate(judge, loaded.model, data, seed, split if reads else None)
    protocol = {
        **judge.protocol(), "evaluator": evaluator, "split": split if reads else None,
        "count": len(data.split(split)) if reads else None, "seed": seed, "weights": loaded.weights,
        "step": loaded.step, "dataset": data.name, "data_fingerprint": data.fingerprint,
        "device": str(loaded.runtime.device), "precision": "fp32", "genlab": __version__,
    }  # fmt: skip
    metrics = evaluate.numbers(values)
    diagnoses = [value.sentence for _, value in values if isinstance(value, Diagnosis) and value.due(loaded.step)]
    result = {"metrics": metrics, "protocol": protocol, "diagnoses": diagnoses}
    stem = f"{keys.name or evaluator}-{split}"
    path = files.own_folder(loaded.path / "eval") / f"{stem}.json"
    files.write_atomic(path, files.dump_json(result))
    for sentence in diagnoses:
        print(f"diagnosis: {sentence}")
    _print(metrics, f"{evaluator} on {split}" if reads else evaluator)
    if "caution" in protocol:
        print(f"caution: {protocol['caution']}")
    _save_pictures(values, loaded, stem)
    print(path)
    return result


def _instead(judge: Any, loaded: LoadedRun, evaluator: str) -> str:
    """What does apply: the same evaluator of other images, else other evaluators."""
    option = judge.instead(loaded.model) if hasattr(judge, "instead") else None
    return f"use evaluator={evaluator} {option}" if option else f"these apply: {', '.join(_applicable(loaded))}"


def _applicable(loaded: LoadedRun) -> list[str]:
    """The evaluators that apply to this model as they are by default."""
    built = ((name, EVALUATORS.get(name)) for name in EVALUATORS.names())
    return [name for name, target in built if target().applies(loaded.model)]


def _build(loaded: LoadedRun, name: str, changes: list[str]) -> Any:
    """The evaluator as the run was configured, with the changes given here."""
    from genlab.registry import signature_schema

    target = EVALUATORS.get(name, "evaluator")
    stored: dict[str, Any] = next(
        (spec for spec in loaded.config["evaluator"].values() if spec and spec["name"] == name), {}
    )
    given = keywords(target, changes) if changes else {}
    known = signature_schema(target).model_fields
    kept = {key: value for key, value in stored.items() if key in known}
    return EVALUATORS.build({"name": name, **kept, **given}, f"evaluator {name}")


def _print(metrics: dict[str, float], title: str) -> None:
    if metrics:
        show(["metric", "value"], [[name, f"{value:.6g}"] for name, value in metrics.items()], title)


def _save_pictures(values: list[tuple[str, Value]], loaded: LoadedRun, stem: str) -> None:
    from genlab.core.values import Picture

    for name, value in values:
        if isinstance(value, Picture):
            image_command.write(loaded.path / "eval" / f"{stem}-{name.replace('/', '-')}.png", value.png)
