"""genlab score: measure anybody's samples as `genlab eval` measures those of a run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import Field

from genlab.cli.images.image_command import Target, keys_text, user_target, write
from genlab.cli.options import Parser, keywords
from genlab.errors import ConfigError, DataError
from genlab.registry import NonNegativeInt
from genlab.runs.run_folder import is_run
from genlab.utils.files import dump_json
from genlab.utils.paths import user_path
from genlab.utils.tables import show
from genlab.utils.terminal import echo

if TYPE_CHECKING:
    from genlab.core.values import Image

EXAMPLES = """\
  genlab score samples.npz dataset=mnist dataset.size=32
  genlab score samples/ dataset=celeba dataset.size=64 evaluator=[fid,prdc]
  genlab score samples.npy dataset=fashion_mnist evaluator=kid evaluator.kid.images=2000 out=score.json
  genlab score last                                 what genlab eval says of a run, by the same evaluators
"""
DEFAULT = "evaluator=[fid,kid,prdc,memorization]"
ERRORS = "parts of the samples that are left out in turn for standard errors, at least 2; 0: none"


@dataclass(frozen=True)
class Keys:
    """The keys besides overrides of the data set and the evaluators."""

    split: Annotated[Literal["valid", "test"], Field(description="of the data that the samples are compared with")] = (
        "test"
    )
    seed: Annotated[NonNegativeInt, Field(description="of what is drawn: samples, subsets")] = 0
    blocks: Annotated[int, Ge(0), Le(100), Field(description=ERRORS)] = 10
    out: Annotated[str | None, Field(description="JSON file for the numbers and the protocol")] = None


def parser() -> Parser:
    about = "Measure samples: a file of numbers (.npy, .npz, .safetensors), a folder of images, or a run."
    parse = Parser("score", about, EXAMPLES, keys_text(Keys))
    parse.add_argument("samples", metavar="SAMPLES", help="file, folder or run")
    help = "dataset=NAME, dataset.KEY, evaluator, evaluator.NAME.KEY as in training; and the keys below"
    parse.add_argument("options", nargs="*", metavar="KEY=VALUE", help=help)
    parse.flags("device", "plugin", "config-dir", "json")
    return parse


def run(options: argparse.Namespace) -> int:
    known = {field.name for field in fields(Keys)}
    own = [word for word in options.options if word.partition("=")[0] in known]
    overrides = [word for word in options.options if word not in own]
    _check_groups(overrides)
    if not any(word.startswith("evaluator=") for word in overrides):
        overrides.append(DEFAULT)
    keys = Keys(**keywords(Keys, own, "genlab score"))
    path = user_path(options.samples, "argument SAMPLES")
    if options.samples == "last" or any(is_run(each) for each in (path, Path("outputs") / options.samples)):
        return _score_run(options, overrides, keys)
    if not path.exists():
        raise DataError(f"{path} is missing", "argument SAMPLES", "give a file, a folder of images, or a run")
    return _score_samples(path, options, overrides, keys)


def _score_run(options: argparse.Namespace, overrides: Sequence[str], keys: Keys) -> int:
    """`genlab eval` of the run, whose data set is known."""
    from genlab.cli import evaluate

    own = keys.out or keys.blocks != Keys.blocks or options.json or options.config_dir
    if own or any(word.startswith("dataset") for word in overrides):
        raise ConfigError("a run is measured as genlab eval does it, on its own data", "genlab score RUN",
                          "leave out dataset, out, blocks, --json and --config-dir")  # fmt: skip
    words = [options.samples, *overrides, f"split={keys.split}", f"seed={keys.seed}"]
    flags = [f"--plugin={name}" for name in options.plugin] + ([f"--device={options.device}"] if options.device else [])
    return evaluate.run(evaluate.parser().parse([*words, *flags]))


def _check_groups(overrides: Sequence[str]) -> None:
    for word in overrides:
        if word.lstrip("+~").partition("=")[0].partition(".")[0] not in ("dataset", "evaluator"):
            known = ", ".join(field.name for field in fields(Keys))
            raise ConfigError(
                f"unknown key '{word.partition('=')[0][:60]}'", "genlab score", f"it takes dataset, evaluator, {known}"
            )


def _score_samples(path: Path, options: argparse.Namespace, overrides: list[str], keys: Keys) -> int:
    if not any(word.startswith("dataset=") for word in overrides):
        raise ConfigError("there is nothing to compare the samples with", "key dataset", "add dataset=NAME")
    target = user_target(keys.out, "out", (".json",)) if keys.out else None
    from genlab.config import compose
    from genlab.distributed.runtime import Runtime, choose_device
    from genlab.registry import EVALUATORS
    from genlab.workflows.build import build_dataset, load_registry
    from genlab.workflows.score import prepared, read_samples, score

    composed = compose.compose(overrides, options.config_dir, options.plugin)
    load_registry(options.plugin)
    config = compose.check(composed.config)
    runtime = Runtime(choose_device(options.device or "auto"))
    data = build_dataset(config["dataset"], "dataset", seed=0).open(runtime.device)
    given = read_samples(path, data, keys.seed, runtime)
    evaluators = {
        name: EVALUATORS.build(spec, f"evaluator.{name}", key=f"evaluator.{name}")
        for name, spec in config["evaluator"].items()
        if spec
    }
    used = {name: prepared(given, each, data, keys.split, keys.blocks) for name, each in evaluators.items()}
    found: dict[str, Any] = {}
    images: dict[str, Image] = {}
    for name, evaluator in evaluators.items():
        found[name], drawn = score(used[name], evaluator, data, keys.split, keys.seed, keys.blocks)
        images |= {f"{name}-{title}": image for title, image in drawn.items()}
        if not options.json:
            _show(found[name])
    if options.json:
        echo(*dump_json(found).decode().splitlines())
    if target:
        write(target, dump_json(found))
        for title, image in images.items():
            write(Target(target.root, f"{target.path.stem}-{title}.png", target.hint), image.png)
    return 0


def _show(result: dict[str, Any]) -> None:
    """Print numbers, each with its standard error if it has one."""
    from genlab.workflows.score import STANDARD_ERROR

    metrics = result["metrics"]
    rows = []
    for name, value in metrics.items():
        if name.removesuffix(STANDARD_ERROR) not in metrics or not name.endswith(STANDARD_ERROR):
            error = metrics.get(f"{name}{STANDARD_ERROR}")
            text = "not finite" if value is None else f"{value:.6g}"
            rows.append([name, text, "" if error is None else f"{error:.2g}"])
    protocol = result["protocol"]
    show(["metric", "value", "± standard error"], rows, f"{protocol['evaluator']} on {protocol['split']}")
    for sentence in result["diagnoses"]:
        echo(f"diagnosis: {sentence}")
    if "caution" in protocol:
        echo(f"caution: {protocol['caution']}")
