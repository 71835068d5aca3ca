"""The summary of a finished run: report.html, and the closing table in the terminal."""

from __future__ import annotations

import json
import math
import re
import shlex
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from genlab.config.yaml_file import dump_config
from genlab.reports import html_page
from genlab.reports.charts import Curve, line_chart
from genlab.reports.evaluation_table import evaluation_table
from genlab.runs import bands, evaluations
from genlab.runs.metrics_file import records
from genlab.utils.formatting import duration, number
from genlab.utils.own_folder import OwnFolder
from genlab.utils.terminal import console, is_terminal, printable

REPORT = "report.html"
EVALUATED = 30  # images of evaluations in a page
EARLIER = 3  # images of a name shown beside the last one
LAST_CHARTS = ("gradient_norm", "learning_rate", "images_per_second")  # of less interest than losses
WITH_MODES = ("ring", "grid")  # data sets of points, whose modes are known
EVALUATIONS = (
    "by genlab eval; the files, in eval/, hold the whole protocol; explained in “Evaluation” in the documentation"
)
UNITS = "the last values, averaged over images; meanings and units: “Reading the logs” in the documentation"


def write_report(run: Path, record: Mapping[str, Any], config: Mapping[str, Any]) -> Path:
    """RUN/report.html, one file, from run.json, the configuration, metrics.jsonl and images/.

    Raises OSError or ResourceError if it cannot be written.
    """
    title = f"{record['model']['name']} on {record['data']['name']}"
    html = html_page.page(
        title,
        [
            html_page.header(title, record["status"], _summary(record), str(run)),
            html_page.section("Diagnosis", html_page.table(_diagnoses(record), code=0)),
            html_page.section("Figures", html_page.cards(_figures(record)), UNITS),
            html_page.section("Evaluations", _evaluations(run, record), EVALUATIONS),
            html_page.section("Images", html_page.gallery("galleries", _images(run))),
            html_page.section("Curves", html_page.gallery("curves", _charts(run)), "over optimizer steps"),
            html_page.section("What next", html_page.table(next_commands(run, record), code=0)),
            html_page.section(
                "How the figures were made",
                _evaluator_table(record, config) + html_page.table(_protocol(record, config), code=1),
            ),
            html_page.section("Configuration", html_page.text(dump_config(dict(config)).decode())),
        ],
    )
    OwnFolder(run).write(REPORT, html)
    return run / REPORT


def closing_table(run: Path, record: Mapping[str, Any]) -> None:
    """Print the final metrics, the duration, the location of images, and commands to try next."""
    from rich.table import Table
    from rich.text import Text

    terminal = is_terminal(sys.stdout)
    # outside a terminal: no colors and no folding, for grep and for copying
    width = None if terminal else 1000
    screen = console(force_terminal=terminal, no_color=not terminal, width=width, highlight=False)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in _closing_rows(run, record):
        table.add_row(Text(printable(name), style="bold"), Text(printable(value), overflow="fold"))
    screen.print(table)
    screen.print(Text("\nNext:", style="bold"))
    for command, use in next_commands(run, record):
        screen.print(Text.assemble(f"  {printable(command)}", (f"  # {use}", "dim")), soft_wrap=True)


def next_commands(run: Path, record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Commands to try next and their purpose; only those that the run's model supports."""
    target = shlex.quote(str(run)) + plugin_words(record.get("plugins", ()))
    can = record["model"].get("can", [])  # older runs lack it
    if any(run.glob("events.out.tfevents.*")):
        shown = "curves, images and latent codes" if "Encodes" in can else "curves and images"
        yield f"tensorboard --logdir {shlex.quote(str(run))}", f"{shown} in the browser"
    if "Translates" in can:
        yield f"genlab translate {target}", "test images beside their translations"
    images = record["data"].get("shape", ())[1:] != [1, 1]  # not points
    if "Samples" in can and images:
        yield f"genlab sample {target} n=64", "more samples"
    if "Reconstructs" in can and images:
        yield f"genlab reconstruct {target}", "test images beside their reconstructions"
    evaluator, measured = _first_evaluation(record)
    yield f"genlab eval {target}{evaluator and f' evaluator={evaluator}'}", measured
    if record.get("steps"):
        yield f"genlab resume {target} trainer.steps={2 * record['steps']}", "train on, to twice the length"


def _first_evaluation(record: Mapping[str, Any]) -> tuple[str, str]:
    """The evaluator that says most about the run, "" for the objective; and what it measures.

    The losses of a GAN say how well its networks do against each other, not how good the samples are.
    """
    can = record["model"].get("can", [])
    if "Samples" in can and record["data"]["name"] in WITH_MODES:
        return "modes", "how many modes the samples cover"
    if "Samples" in can and (record.get("best") or {}).get("metric", "").endswith("quick_fid"):
        return "fid", "Fréchet distance between samples and test images"
    if "Samples" in can and "HasDiscriminator" in can:
        return "diversity", "how different the samples are from each other"
    return "", "the objective on the test split"


def plugin_words(names: Iterable[str]) -> str:
    """The flags that a command on a run needs for the plug-ins of these names."""
    return "".join(f" --plugin {name}" for name in names)


def _closing_rows(run: Path, record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    took = f" in {duration(record['seconds'])}" if "seconds" in record else ""
    yield record["status"], f"{record.get('step', 0)} of {record.get('steps', 0)} steps{took}"
    if words := _time_words(record.get("time", {})):
        yield "time", words
    for name, value, note in _figures(record):
        yield name, f"{value} {note}".rstrip()
    yield from _diagnoses(record)
    for name, paths in sorted(images_by_name(run).items()):
        yield name, str(paths[-1])
    if (run / "report.html").exists():
        yield "report", str(run / "report.html")


def _time_words(seconds: Mapping[str, float]) -> str:
    """Where the training thread's time went, largest first; fractions below half a percent are left out."""
    laps = {name: value for name, value in seconds.items() if name != "writing"}  # that is another thread's
    total = sum(laps.values())
    ordered = sorted(laps.items(), key=lambda lap: -lap[1])
    return ", ".join(f"{value / total:.0%} {name}" for name, value in ordered if value > 0.005 * total)


def _summary(record: Mapping[str, Any]) -> Iterator[str]:
    yield f"{record.get('step', 0):,} steps"
    if "seconds" in record:
        yield duration(record["seconds"])
    yield f"{sum(record['model'].get('parameters', {}).values()):,} parameters"
    if record.get("ended"):
        yield f"ended {time.strftime('%Y-%m-%d %H:%M', time.localtime(record['ended']))}"


def _figures(record: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, value and note of each number that the run ended with."""
    if best := record.get("best"):
        yield f"best {best['metric']}", number(best["value"]), f"at step {best['step']:,}"
    for name, value in record.get("metrics", {}).items():
        yield name, "not finite" if value is None else number(value), ""


def _diagnoses(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """How the run lies in its experiment's band; diagnoses: name and step, and the sentence with the override."""
    if band := record.get("band"):
        yield "band", bands.words(band)
    for found in record.get("diagnoses", []):
        yield f"{found['name']} at step {found['step']:,}", found["sentence"]


def _evaluations(run: Path, record: Mapping[str, Any]) -> str:
    """The table of results, and the images of those of the newest steps."""
    shown = [each for each in evaluations.images(run) if _is_embeddable(each[2])][:EVALUATED]
    figures = (html_page.image_figure(title, (f"step {step:,}", path), ()) for title, step, path in shown)
    return evaluation_table(record.get("evaluations", [])) + html_page.gallery("galleries", figures)


def _images(run: Path) -> Iterator[str]:
    """For each name the last image, with some earlier ones, evenly spread over the run."""
    for name, paths in sorted(images_by_name(run).items()):
        captioned = [(f"step {step_of(path):,}", path) for path in paths]
        *earlier, last = captioned
        few = min(EARLIER, len(earlier))
        yield html_page.image_figure(name, last, [earlier[i * len(earlier) // few] for i in range(few)])


def images_by_name(run: Path) -> dict[str, list[Path]]:
    """The images that the run's `images` logger wrote, in the order of their steps; no links, no pipes."""
    names: dict[str, list[Path]] = {}
    paths = [run / "images" / file for file in OwnFolder(run).names("images") if re.search(r".-\d{8,}\.png$", file)]
    for path in sorted(filter(_is_embeddable, paths), key=step_of):
        names.setdefault(path.stem.rpartition("-")[0], []).append(path)
    return names


def _is_embeddable(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and status.st_size <= html_page.IMAGE_LIMIT


def step_of(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _charts(run: Path) -> Iterator[str]:
    found = curves(run)
    for name in sorted(found, key=lambda name: name.rpartition("/")[2] in LAST_CHARTS):
        drawing = line_chart(found[name]) or _alone(found[name])
        if drawing:
            yield html_page.chart(name, drawing, sorted(found[name]))


def _alone(series: Mapping[str, list[tuple[float, float]]]) -> str:
    """A single value, which makes no curve, as text."""
    found = [point for points in series.values() for point in points if math.isfinite(point[1])]
    return html_page.note(f"{number(found[0][1])} at step {found[0][0]:,}") if found else ""


def curves(run: Path) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """name -> split -> (step, value), from metrics.jsonl."""
    found: dict[str, dict[str, Curve]] = {}
    for _, record in records(OwnFolder(run)):
        step, split, _ = record.pop("step"), record.pop("split"), record.pop("time")
        for name, value in record.items():
            found.setdefault(name, {}).setdefault(split, Curve()).add(step, math.nan if value is None else value)
    return {name: {split: curve.points() for split, curve in series.items()} for name, series in found.items()}


def _protocol(record: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Everything else that a figure of this run depends on."""
    yield "weights evaluated", "averaged (EMA)" if config["trainer"]["ema_decay"] else "raw"
    for key in ("command", "seed", "data", "model", "device", "precision", "threads", "world", "versions", "git",
                "config_hash"):  # fmt: skip
        value = record.get(key)
        if value is not None:
            yield key.replace("_", " "), value if isinstance(value, str) else json.dumps(value)


def _evaluator_table(record: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The evaluators that found something in this run, with their options and their protocols."""
    specs = {key: spec for key, spec in config["evaluator"].items() if spec}
    protocols = record.get("protocols")  # older runs do not say which evaluators found anything
    rows = []
    for key, protocol in ({key: {} for key in specs} if protocols is None else protocols).items():
        options = {name: protocol.get(name, value) for name, value in specs.get(key, {}).items() if name != "name"}
        notes = {name: value for name, value in protocol.items() if name not in ("metrics", *options)}
        found = "\n".join(protocol["metrics"]) or "images" if "metrics" in protocol else ""
        rows.append((key, _lines(options), _lines(notes), found))
    return html_page.table(rows, code=0, header=("evaluator", "options", "protocol", "found"))


def _lines(values: Mapping[str, Any]) -> str:
    """`key: value`, each on its own line."""
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
    return "\n".join(f"{key}: {text}" for key, text in texts.items())
