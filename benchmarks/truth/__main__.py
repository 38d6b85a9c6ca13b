"""`python -m benchmarks.truth [--replications N] [NAME …]`: nominal against seen; exit code 1 if one does not hold."""

import argparse
import gc
import importlib
import pkgutil
import sys
from collections.abc import Iterator

import benchmarks.truth
from benchmarks.truth.table import Row

PLANTED = sorted(
    module.name
    for module in pkgutil.iter_modules(benchmarks.truth.__path__)
    if module.name not in ("__main__", "table")
)


def measured(name: str, replications: int) -> Iterator[Row]:
    """The rows of one of `PLANTED`."""
    module = importlib.import_module(f"benchmarks.truth.{name}")
    # Holm's correction of statsmodels collects garbage each time: over all that was imported, if that is not set aside.
    gc.freeze()
    yield from module.rows(replications)
    gc.unfreeze()


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.truth", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PLANTED)}; default: all")
    parser.add_argument("--replications", type=int, default=300, help="simulated studies a row (300)")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(PLANTED):
        parser.error(f"{', '.join(sorted(unknown))}: known: {', '.join(PLANTED)}")
    rows = []
    for name in asked.names or PLANTED:
        for row in measured(name, asked.replications):
            print(row, flush=True)
            rows.append(row)
    wrong = sum(not row.holds for row in rows)
    print(f"{len(rows)} shares over {asked.replications} studies each: {wrong} outside two standard errors")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
