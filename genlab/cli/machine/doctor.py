"""genlab doctor: the state of this installation on one screen. It reports problems and never fails."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from genlab import __version__
from genlab.cli.options import Parser
from genlab.errors import GenlabError
from genlab.utils.subprocesses import cores
from genlab.utils.tables import show_records
from genlab.utils.terminal import echo

Rows = Iterator[tuple[str, str]]
PACKAGES = ("torch", "torchvision", "hydra-core", "omegaconf", "tensorboard", "numpy", "pydantic", "safetensors",
            "pillow", "scikit-learn", "scipy", "lmdb", "rich")  # fmt: skip


def parser() -> Parser:
    parse = Parser(
        "doctor",
        "Versions, devices, data found, broken plug-ins, time to a first step.",
        "  genlab doctor\n  genlab doctor --json\n",
    )
    parse.flags("json")
    parse.add_argument("--root", help="where to look for data, as dataset.root")
    return parse


def run(options: argparse.Namespace) -> int:
    sections: list[tuple[str, Callable[[], Rows]]] = [
        ("versions", _versions), ("machine", _machine), ("devices", _devices), ("folders", _folders),
        ("data", lambda: _data(options.root)), ("plug-ins", _plugins), ("time to first step", _first_step),
    ]  # fmt: skip
    records = []
    for title, rows in sections:
        if not options.json:
            echo(title)
        for name, value in _safe(rows):
            records.append({"section": title, "name": name, "value": value})
            if not options.json:
                echo(f"  {name:<16} {value}")
    if options.json:
        show_records(records, json=True)
    return 0


def _safe(rows: Callable[[], Rows]) -> Rows:
    """The rows of a section; this command reports what is broken."""
    try:
        yield from rows()
    except Exception as error:
        yield "broken", _short(error)


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def _versions() -> Rows:
    yield "genlab", __version__
    yield "python", f"{platform.python_version()} ({sys.executable})"
    for name in PACKAGES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            yield name, "missing"


def _machine() -> Rows:
    import torch

    yield "system", f"{platform.system()} {platform.release()} {platform.machine()}"
    yield "cores", f"{cores()} usable of {os.cpu_count()}"
    yield "threads", f"{torch.get_num_threads()} (trainer.threads changes it)"
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        page = os.sysconf("SC_PAGE_SIZE")
        free = f", {_size(os.sysconf('SC_AVPHYS_PAGES') * page)} free" if "SC_AVPHYS_PAGES" in os.sysconf_names else ""
        yield "memory", f"{_size(os.sysconf('SC_PHYS_PAGES') * page)}{free}"


def _devices() -> Rows:
    import torch

    from genlab.distributed.runtime import choose_device, choose_precision

    chosen = choose_device("auto")
    yield "auto picks", f"{chosen} with {choose_precision('auto', chosen)}"
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        yield f"cuda:{index}", f"{gpu.name}, {_size(gpu.total_memory)}, compute {gpu.major}.{gpu.minor}"
    if not torch.cuda.is_available():
        yield (
            "cuda",
            f"none (torch is built {f'for CUDA {torch.version.cuda}' if torch.version.cuda else 'without it'})",
        )
    if torch.backends.mps.is_available():
        yield "mps", f"{torch.backends.mps.get_name()}, {torch.backends.mps.get_core_count()} cores"


def _folders() -> Rows:
    from genlab.config import compose
    from genlab.utils.paths import cache_folder

    cache = cache_folder()
    yield "configurations", str(compose.search_path())
    yield "outputs", f"{Path('outputs').absolute()}, {_size(shutil.disk_usage(Path.cwd()).free)} free on its disk"
    yield "cache", f"{cache} ({_size(_used(cache))})" if cache.is_dir() else f"{cache} (not there yet)"
    yield "GENLAB_DATA", os.environ.get("GENLAB_DATA", "not set")


def _data(root: str | None) -> Rows:
    """Each data set with its defaults: its folder, or the files that are missing."""
    from genlab.config import compose
    from genlab.config.yaml_comments import missing, options
    from genlab.registry import discover
    from genlab.utils.paths import data_roots

    discover()
    folders = [compose.search_path()]
    for name, path in options("dataset", folders).items():
        if keys := missing(path, folders):
            yield name, f"your own: {', '.join(f'dataset.{key}=PATH' for key in keys)}"
            continue
        try:
            yield name, _found(compose.compose([f"dataset={name}"]).config["dataset"], data_roots(root))
        except Exception as error:  # report it and continue
            yield name, f"no: {' '.join(str(error).split())[:200]}"


def _found(spec: dict[str, Any], roots: list[Path]) -> str:
    """Always with a root: a reader without one may download."""
    if _check(spec, Path(os.devnull)) is None:
        return "built in"
    problems = {root: _check(spec, root) for root in roots}
    found = [root for root, problem in problems.items() if problem is None]
    return f"found in {found[0]}" if found else f"no: {next(iter(problems.values()))}"


def _check(spec: dict[str, Any], root: Path) -> GenlabError | None:
    from genlab.registry import DATASETS

    try:
        where = {"root": str(root)} if "root" in spec else {}
        DATASETS.build({**spec, **where}, "dataset", seed=0).check()
    except GenlabError as error:
        return error
    return None


def _plugins() -> Rows:
    from genlab.registry import broken_plugins, discover

    discover()
    installed = list(metadata.entry_points(group="genlab.plugins"))
    if not installed:
        yield "installed", "none"
    for point in installed:
        broken = broken_plugins.get(point.name)
        yield point.name, f"broken: {broken}" if broken else f"works ({point.value})"


def _first_step() -> Rows:
    """For the default model on the built-in digits, in a new process."""
    from genlab.workflows.first_step import measured

    for part, seconds in measured().items():
        yield part, f"{seconds:.2f} s"


def _used(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
