"""`python -m tests.fuzz --studies N --seed N`: so many mutants of the study files; exit code 1 if any is a fault."""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.fuzz.studies import Judge, mutants


def main() -> int:
    """Judge mutants, and keep those that are a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--studies", type=int, default=1000, help="how many mutants of study files")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations")
    kept = Path(tempfile.gettempdir()) / "fuzz"
    parser.add_argument("--keep", type=Path, default=kept, help="folder for mutants that are a fault")
    asked = parser.parse_args()
    found: Counter[str] = Counter()
    judge = Judge()
    for number, mutant in enumerate(mutants(asked.seed, asked.studies)):
        verdict = judge(mutant)
        found[verdict.kind] += 1
        if verdict.fault:
            asked.keep.mkdir(parents=True, exist_ok=True)
            kept = asked.keep / f"{asked.seed}-{number}.yaml"
            kept.write_bytes(mutant)
            print(f"{kept}: {verdict.fault}", flush=True)
    told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.items()))
    print(
        f"seed {asked.seed}: {told}; the slowest refusal took {judge.slowest:.2f} s of CPU, and all together "
        f"{judge.grown / 1e6:.0f} MB"
    )
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
