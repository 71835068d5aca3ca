"""Compare genlab's speed with its floor and other projects: new processes, interleaved rounds, ratios within a round.

    python -m benchmarks.run                                          the first workloads, genlab and floor
    python -m benchmarks.run vae_mlp_mnist --peers-python peers/bin/python --examples checkouts/examples
    python -m benchmarks.run --gate 0.85 vae_mlp_mnist                exit code 1 below 0.85 of the floor

Data: GENLAB_DATA if it contains the data sets, else synthetic ones of the same sizes. Writes
benchmarks/results/<hardware>-<date>.json and a Markdown table beside it, and keeps workloads that were run earlier that
day. --docs also writes the table to docs/performance.md. Fewer than five rounds are not a result: their table is
printed, and stored only in a folder given by --out.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import LIMIT, rounds, synthetic
from benchmarks.workloads import COMPARED, WORKLOADS
from genlab.runs.provenance import git_state, processor, versions

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
ENOUGH = 5  # rounds needed to store a result
PEERS = {
    "pythae": ("pythae_vae", ("vae_mlp_mnist", "vae_conv64")),
    "lightning": ("lightning_vae", ("vae_mlp_mnist", "vae_conv64")),
    "examples": ("examples", ("vae_mlp_mnist", "dcgan64", "dcgan64_lsun")),
}


def options() -> argparse.Namespace:
    about, _, examples = (__doc__ or "").partition("\n\n")
    parse = argparse.ArgumentParser(
        description=about, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parse.add_argument(
        "workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)}; none: the first {len(COMPARED)}"
    )
    parse.add_argument("--rounds", type=int, default=5)
    parse.add_argument("--steps", type=int, help="steps that are timed, in place of each workload's own number")
    parse.add_argument("--threads", type=int, default=1)
    parse.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parse.add_argument("--precision", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parse.add_argument("--peers-python", help="an interpreter that has pythae, lightning, torchvision")
    parse.add_argument("--examples", type=Path, help="a checkout of pytorch/examples")
    parse.add_argument("--override", action="append", default=[], metavar="KEY=VALUE", help="for genlab's entries")
    parse.add_argument("--gate", type=float, help="exit code 1 if genlab is below this share of the floor")
    parse.add_argument("--out", type=Path, help=f"folder for the results; from {ENOUGH} rounds: {RESULTS.name}/")
    parse.add_argument("--docs", action="store_true", help="also replace the table in docs/performance.md")
    given = parse.parse_intermixed_args()
    unknown = sorted(set(given.workloads) - set(WORKLOADS))
    if unknown:
        parse.error(f"unknown workload {unknown[0]}; choose from {', '.join(WORKLOADS)}")
    if given.docs and given.rounds < ENOUGH:
        parse.error(f"--docs takes {ENOUGH} rounds or more")
    given.out = given.out or (RESULTS if given.rounds >= ENOUGH else None)
    given.workloads = given.workloads or list(COMPARED)
    return given


def entries(workload: str, given: argparse.Namespace, data: Path, images: Path) -> dict[str, list[str]]:
    """The command of each entry, by name."""
    steps, warmup = WORKLOADS[workload].steps if given.device == "cpu" else WORKLOADS[workload].gpu_steps
    steps = given.steps or steps
    span = ["--steps", str(steps), "--warmup", str(warmup), "--threads", str(given.threads), "--device", given.device]
    found = {}
    for precision in given.precision:
        words = [f"steps={steps}", f"warmup={warmup}", f"threads={given.threads}", "--device", given.device,
                 f"dataset.limit={LIMIT}"]  # fmt: skip
        found[f"genlab {precision}"] = [
            sys.executable, "-m", "genlab", "bench", workload, *words, f"precision={precision}", *given.override
        ]  # fmt: skip
        graph = ["--graph"] if given.device == "cuda" and workload != "wgan_gp28" else []
        found[f"floor {precision}"] = [
            sys.executable, "-m", "benchmarks.floor", workload, "--images", str(images), *span,
            "--precision", precision, "--layout", layout(workload, given.device, precision), *graph,
        ]  # fmt: skip
    for peer, (module, workloads) in PEERS.items():
        if not given.peers_python or workload not in workloads or (peer == "examples" and not given.examples):
            continue
        place = ["--images", str(images)]
        if peer == "examples":
            place = ["--examples", str(given.examples.resolve()), "--data", str(data)]
        found[f"{peer} fp32"] = [given.peers_python, "-m", f"benchmarks.peers.{module}", workload, *place, *span]
    return found


def layout(workload: str, device: str, precision: str) -> str:
    """The faster memory layout, as genlab's `trainer.channels_last=auto` chooses it."""
    chosen = WORKLOADS[workload]
    faster = chosen.batch > 1 if device == "cpu" else precision != "fp32"
    return "nhwc" if chosen.convolutional and faster else "nchw"


def row(name: str, command: list[str], variables: dict[str, str]) -> dict[str, Any] | None:
    """The last line of JSON that a new process prints; None if there is none, after printing the end of its output."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:  # for run folders that other projects leave behind
        environment = {**variables, "TMPDIR": folder}
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, cwd=ROOT)
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"peer"')]
    if lines:
        return json.loads(lines[-1])
    last = (done.stderr.strip() or "it printed nothing").splitlines()[-1]
    print(f"{name} failed (exit code {done.returncode}): {last[-200:]}", file=sys.stderr)
    return None


def play(workload: str, given: argparse.Namespace, data: Path, variables: dict[str, str]) -> list[rounds.Round]:
    """The rounds. An entry that fails once, such as a project that is not installed, is removed from all rounds."""
    exported = subprocess.run(
        [sys.executable, "-m", "benchmarks.images", workload],
        stdout=subprocess.PIPE, text=True, check=True, env=variables, cwd=ROOT,
    )  # fmt: skip
    commands = entries(workload, given, data, Path(exported.stdout.strip()))
    played: list[rounds.Round] = []
    for number in range(1, given.rounds + 1):
        said = {}
        for name, command in list(commands.items()):
            found = row(name, command, variables)
            if found is None:
                del commands[name]
            else:
                said[name] = found
                speed = found[rounds.speed(found)]
                print(f"{workload} round {number}: {name} {speed:,.1f}", file=sys.stderr, flush=True)
        played.append(said)
    return [{name: said[name] for name in commands} for said in played]


def environment(data: Path, threads: int) -> dict[str, str]:
    """Environment variables common to all entries."""
    limits = {key: str(threads) for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, **limits, "PYTHONPATH": path, "GENLAB_DATA": str(data)}


def hardware(device: str) -> str:
    """The name of the processor or the GPU, as a file name."""
    if device == "cuda":
        import torch

        name = torch.cuda.get_device_name()
    else:
        name = processor()
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def kept(given: argparse.Namespace, played: dict[str, list[rounds.Round]], source: str) -> dict[str, Any]:
    """The day's results including these rounds, without summary; written to disk if they count."""
    date = str(datetime.date.today())
    results: dict[str, Any] = {"hardware": hardware(given.device), "date": date}
    results |= {"facts": {}, "summary": {}, "rounds": {}}
    if given.out and (file := json_file(given)).exists():
        results = json.loads(file.read_text())
    facts = {"data": source, "versions": versions(), "git": git_state(ROOT), "processors": os.cpu_count()}
    for workload, found in played.items():
        results["facts"][workload], results["rounds"][workload] = facts, found
        results["summary"].pop(workload, None)
    save(given, results)
    return results


def json_file(given: argparse.Namespace) -> Path:
    threads = f"-{given.threads}t" if given.threads > 1 else ""
    return given.out / f"{hardware(given.device)}-{datetime.date.today()}{threads}.json"


def save(given: argparse.Namespace, results: dict[str, Any]) -> None:
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        json_file(given).write_text(json.dumps(results, indent=1) + "\n")


def write(given: argparse.Namespace, played: dict[str, list[rounds.Round]], source: str) -> None:
    """Write the JSON and the table beside it, and with --docs the table in the documentation.

    The rounds are stored before they are checked: ValueError if genlab or its floor is missing, or if the work differs.
    """
    results = kept(given, played, source)
    for workload, found in played.items():
        check_whole(workload, found, given.precision)
        results["summary"][workload] = rounds.summary(found)
    save(given, results)
    table = rendered(results)
    print(table)
    if given.out:
        file = json_file(given).with_suffix(".md")
        file.write_text(f"# {file.stem}\n\n{table}")
    if given.docs:
        put(ROOT / "docs" / "performance.md", "table", table)


def check_whole(workload: str, found: list[rounds.Round], precisions: list[str]) -> None:
    missing = [name for p in precisions for name in (f"genlab {p}", f"floor {p}") if name not in found[0]]
    if missing:
        raise ValueError(f"{workload}: nothing to compare without {', '.join(missing)}")


def rendered(results: dict[str, Any]) -> str:
    """The tables of all workloads that have a summary."""
    tables = []
    for workload in results["summary"]:
        facts = results["facts"][workload]
        conditions = f", torch {facts['versions']['torch']}, {facts['data']} data"
        tables.append(rounds.table(results["rounds"][workload], conditions))
    return "\n".join([f"{results['hardware']}, {results['date']}.", "", *tables])


def put(page: Path, marker: str, text: str) -> None:
    """Replace the text between `<!-- marker -->` and `<!-- /marker -->` in a page."""
    before, begin, rest = page.read_text().partition(f"<!-- {marker} -->\n")
    _, end, after = rest.partition(f"<!-- /{marker} -->")
    if not end:
        raise ValueError(f"{page} has no <!-- {marker} --> ... <!-- /{marker} -->")
    page.write_text(f"{before}{begin}\n{text.strip()}\n\n{end}{after}")


def passes(gate: float, played: dict[str, list[rounds.Round]], precisions: list[str]) -> bool:
    """Whether genlab reaches `gate` of the floor everywhere; prints where it does not."""
    ratios = {(w, p): rounds.to_floor(found, p) for w, found in played.items() for p in precisions}
    for (workload, precision), found in ratios.items():
        print(f"{workload} {precision}: {found:.3f} of the floor, gate {gate}", file=sys.stderr)
    return all(found >= gate for found in ratios.values())


def main() -> int:
    given = options()
    data, source = synthetic.data_root(given.workloads)
    variables = environment(data, given.threads)
    played = {workload: play(workload, given, data, variables) for workload in given.workloads}
    try:
        write(given, played, source)
    except ValueError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0 if given.gate is None or passes(given.gate, played, given.precision) else 1


if __name__ == "__main__":
    sys.exit(main())
