"""Cost of starting: CPU and wall seconds of whole commands, compared with references.

    python benchmarks/startup.py [ROUNDS]

Commands are started in turn, so a busy machine slows all of them; the result is the median of the ratios of CPU seconds
within a round. `first step` rows end with the first optimizer step of the VAE on MNIST and need MNIST (genlab doctor).
Compiled bytecode is kept in a separate folder; the first round, which fills it, is not counted.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

Command = list[str]
HERE = Path(__file__).resolve().parent
GENLAB = ["-m", "genlab"]
REFUSED = ["model=dcgn", "trainer.stepz=3", "trainer.steps=0", "+model.foo=1", "hydra.launcher=x"]


def commands(folder: Path) -> tuple[dict[str, Command], dict[str, Command]]:
    """Commands compared with `import hydra`, and those compared with the floor; the first of each is the reference."""
    light = {
        "import hydra": ["-c", "import hydra"],
        "genlab --version": [*GENLAB, "--version"],
        "genlab --help": [*GENLAB, "--help"],
        "genlab list": [*GENLAB, "list"],
        "genlab runs": [*GENLAB, "runs", str(folder)],
        **{f"genlab train {text} (refused)": [*GENLAB, "train", text] for text in REFUSED},
        "genlab sample nowhere (refused)": [*GENLAB, "sample", "nowhere"],
    }
    script, pixels = str(HERE / "first_step.py"), str(folder / "pixels.npy")
    heavy = {
        "floor script, first step": [script, "floor", pixels],
        "genlab train, first step": [script, "genlab", str(folder / "runs")],
        "import torch": ["-c", "import torch"],
    }
    return light, heavy if _run([script, "export", pixels], folder)[2] == 0 else {}


def _run(command: Command, folder: Path) -> tuple[float, float, int]:
    """CPU seconds (user and system), wall seconds, exit code."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "bytecode"), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    quiet = subprocess.DEVNULL
    done = subprocess.run([sys.executable, *command], stdout=quiet, stderr=quiet, check=False, env=environment)
    after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, ended - began, done.returncode


def compare(group: dict[str, Command], rounds: int, folder: Path) -> None:
    """Print one line per command: medians, and the median ratio to the first one."""
    taken: dict[str, list[tuple[float, float, int]]] = {name: [] for name in group}
    for _ in range(rounds + 1):
        for name, command in group.items():
            taken[name].append(_run(command, folder))
    measure = next(iter(group), "")
    for name, times in taken.items():
        cpu, wall, codes = zip(*times[1:], strict=True)
        ratios = [mine / base for mine, (base, *_) in zip(cpu, taken[measure][1:], strict=True)]
        said = "" if set(codes) <= {0, 2} else f"   exit codes {sorted(set(codes))}"
        print(f"{name:<46} {statistics.median(cpu):.3f} CPU s   {statistics.median(wall):.3f} s   "
              f"{statistics.median(ratios):.2f} of {measure}{said}", flush=True)  # fmt: skip


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as name:
        for group in commands(Path(name)):
            compare(group, rounds, Path(name))


if __name__ == "__main__":
    main()
