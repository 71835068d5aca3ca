"""The band of an experiment from finished runs of it that differ in the seed: configs/experiment/bands/NAME.json.

    genlab train -m experiment=vae_mnist seed=0,1,2,3,4 logger=jsonl hydra.sweep.dir=RUNS
    python scripts/make_band.py vae_mnist RUNS/*/

Prints how many of the runs the band of the others would call outside. `--judge RUN ...` names further runs, of any
configuration, which are judged by the new band and change nothing; with `--dry` no file is written.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from genlab.config.compose import search_path
from genlab.errors import GenlabError
from genlab.runs import bands
from genlab.utils.files import dump_json
from genlab.utils.own_folder import OwnFolder
from genlab.workflows.bands import from_runs, judged


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment")
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--judge", type=Path, nargs="+", default=[])
    parser.add_argument("--out", type=Path, default=search_path() / "experiment" / "bands")
    parser.add_argument("--dry", action="store_true")
    options = parser.parse_args(words)
    try:
        band = from_runs(options.experiment, options.runs)
        alarms = [run for run in options.runs if _left_out(options.experiment, options.runs, run)]
        for run in options.judge:
            print(f"{run}: {_words(judged(band, run))}")
        print(f"{len(alarms)} of {len(options.runs)} runs are outside the band of the others")
    except GenlabError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    if not options.dry:
        options.out.mkdir(exist_ok=True)
        file = f"{options.experiment}.json"
        OwnFolder(options.out).write(file, dump_json(band.model_dump(), indent=None) + b"\n")
        print(f"{options.out / file}: {len(band.curves)} curves, {(options.out / file).stat().st_size:,} bytes")
    return 0


def _left_out(experiment: str, runs: list[Path], run: Path) -> bool:
    """Whether the band of the other runs calls this one outside, at any time."""
    others = [each for each in runs if each != run]
    return len(others) > 1 and bool(judged(from_runs(experiment, others), run).excursions)


def _words(judge: bands.Judge) -> str:
    found = judge.found()
    return bands.words(found) if found else "no point of it can be compared"


if __name__ == "__main__":
    sys.exit(main())
