"""`python -m benchmarks.questions [--replications N]`: what is said wrongly, and trials; exit code 1 if too many."""

import argparse
import multiprocessing
import sys

from benchmarks.questions import crossovers, intervals


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.questions", description=__doc__)
    parser.add_argument("--replications", type=int, default=500, help="simulated studies a cell (500)")
    replications = parser.parse_args().replications
    failed = 0
    with multiprocessing.get_context("fork").Pool() as pool:
        for part in (crossovers, intervals):
            for line, holds in part.rows(replications, pool):
                print(line, flush=True)
                failed += not holds
    print(f"{failed} lines do not hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
