"""Start-up of the command against importing Hydra: wall seconds, and their ratio round by round.

    python benchmarks/startup.py [ROUNDS]

The two are started in turn, so that a busy machine slows both; the median ratio is the figure.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "import hydra": ["-c", "import hydra"],
    "genlab --help": ["-m", "genlab", "--help"],
    "genlab list": ["-m", "genlab", "list"],
    "genlab train model=dcgn (refused)": ["-m", "genlab", "train", "model=dcgn"],
}


def seconds(arguments: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return time.perf_counter() - began


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds + 1):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds(arguments))
    base = times["import hydra"][1:]  # the first round only warms the disk cache
    for name, taken in times.items():
        ratio = statistics.median(t / b for t, b in zip(taken[1:], base, strict=True))
        print(f"{name:<36} {statistics.median(taken[1:]):.3f} s   {ratio:.2f} of import hydra")


if __name__ == "__main__":
    main()
