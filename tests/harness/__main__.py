"""`python -m tests.harness`: run classes of faults and print one table; the exit code is 1 if a promise failed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import tests.harness
from tests.harness import report
from tests.harness.fault_class import fault_classes
from tests.harness.runner import prepared, run


def main(arguments: Sequence[str] | None = None) -> int:
    known = fault_classes()
    options = _parse(arguments, list(known))
    results = []
    with prepared():
        for name in options.names or known:
            numbers = [options.trial] if options.trial is not None else range(known[name].trials(options.share))
            results.append(run(known[name], numbers, options.seed, options.jobs, tell))
            tell(f"{name}: {results[-1].tried} tried, {len(results[-1].failures)} failed")
            tell(*(f"  {line}" for line in report.failures(results[-1])))
            if options.json:
                report.save(results, options.json)
    print(report.table(results))
    return int(any(each.failures for each in results))


def tell(*lines: str) -> None:
    """Print progress."""
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def _parse(arguments: Sequence[str] | None, names: list[str]) -> argparse.Namespace:
    parse = argparse.ArgumentParser(
        "tests.harness", description=tests.harness.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parse.add_argument("names", nargs="*", metavar="CLASS", help=f"{', '.join(names)}; none: all of them")
    parse.add_argument("--share", type=float, default=1.0, help="of the trials of each class (1)")
    parse.add_argument("--seed", type=int, default=0)
    parse.add_argument("--jobs", type=int, default=2, help="trials at a time (2)")
    parse.add_argument("--trial", type=int, metavar="N", help="this trial alone")
    parse.add_argument(
        "--json", type=Path, metavar="FILE", help="write every figure and failure here, after each class"
    )
    options = parse.parse_args(arguments)
    unknown = set(options.names) - set(names)
    if unknown:
        parse.error(f"unknown class {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
