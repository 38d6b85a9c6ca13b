"""`python -m benchmarks.questions.digits`: a crossing on digits by question, twice, and by a grid; exit code 1 if not so.

A question is launched with two first seeds, and once more with the first of them: that launch is killed in the
middle, and goes on. The grid is that of the quickstart: six sparsities, five seeds, two arms.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from scipy.stats import ttest_rel

import analysis
import sweep
from sweep.questions.places import decades
from sweep.questions.planner import ALPHA
from sweep.shipped import found
from sweep.store.results import finished

STUDY = "crossover-question"
FILE = found(Path(f"studies/{STUDY}.yaml"))
SEEDS = (3000, 4000)
GRID = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
WIDTH, TRIALS, GRID_WIDTH = 0.125, 100, 0.3


def launch(results: Path, seed: int) -> "subprocess.Popen[str]":
    """A launch of the question with one worker, which ends with its facts as JSON."""
    words = [
        str(FILE),
        "--set",
        f"seed={seed}",
        "--workers",
        "1",
        "--format",
        "json",
    ]
    command = [sys.executable, "-m", "sweep.launch", *words, "--results", str(results)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def ended(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """The facts of a launch that runs to its end."""
    facts: dict[str, Any] = json.loads(process.communicate()[0])
    return facts


def killed(results: Path, seed: int, after: int) -> int:
    """Kill a launch as soon as so many trials have ended; how many had."""
    process = launch(results, seed)
    while process.poll() is None and len(finished(results / STUDY)) < after:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return len(finished(results / STUDY))


def trials(folder: Path) -> list[tuple[Any, ...]]:
    """What the trials of a study gave."""
    numbers = "trial_id, val_accuracy, test_accuracy"
    return sorted(analysis.open(folder).execute(f"SELECT {numbers} FROM trials").fetchall())


def grid(results: Path) -> tuple[int, float | None]:
    """Trials of the grid, and the width in decades of the narrowest bracket that it is certain of; None: of none."""
    fields = yaml.safe_load(FILE.read_text())
    del fields["question"]
    seeds = [SEEDS[0] + number for number in range(5)]
    blocks = [{"criterion": "snip"}, {"criterion": "random", "scope": "erk"}]
    study = sweep.Study(
        **(fields | {"name": "grid", "seed": seeds, "sparsity": list(GRID), "blocks": blocks})
    )
    sweep.run(study, ray=False, results=results, quiet=True)
    columns = "sparsity, criterion, list(val_accuracy ORDER BY seed)"
    rows = (
        analysis.open(results / "grid")
        .execute(f"SELECT {columns} FROM trials GROUP BY ALL ORDER BY 1")
        .fetchall()
    )
    by_arm = {(place, criterion): values for place, criterion, values in rows}
    signs = certain([(by_arm[place, "snip"], by_arm[place, "random"]) for place in GRID])
    places = [(place, sign) for place, sign in zip(GRID, signs, strict=True) if sign]
    widths = [decades(one[0], other[0]) for one, other in pairwise(places) if one[1] != other[1]]
    return len(trials(results / "grid")), min(widths, default=None)


def certain(arms: Sequence[tuple[Sequence[float], Sequence[float]]]) -> list[int]:
    """The signs of differences by paired t-tests with Holm's correction; 0: not certain."""
    tests = [ttest_rel(first, second) for first, second in arms]
    signs, left = [0] * len(tests), len(tests)
    for number in sorted(range(len(tests)), key=lambda each: tests[each].pvalue):
        if not tests[number].pvalue < ALPHA / left:
            break
        signs[number], left = 1 if tests[number].statistic > 0 else -1, left - 1
    return signs


def main() -> int:
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        brackets = []
        for seed in SEEDS:
            began = time.monotonic()
            facts = ended(launch(root / str(seed), seed))
            bracket, count = facts["question"]["bracket"], facts["trials"]
            width = decades(*bracket) if bracket else None
            brackets.append(bracket)
            holds = width is not None and width <= 1.01 * WIDTH and count <= TRIALS
            failed += said(
                f"seeds from {seed}: {facts['question']['answer']} {count} trials, "
                f"{time.monotonic() - began:.0f} s with one worker",
                holds,
            )
        one, other = brackets
        overlap = bool(one and other) and max(one[0], other[0]) < min(one[1], other[1])
        failed += said(f"brackets {one} and {other} overlap: {overlap}", overlap)
        whole = trials(root / str(SEEDS[0]) / STUDY)
        before = killed(root / "killed", SEEDS[0], len(whole) // 2)
        ended(launch(root / "killed", SEEDS[0]))
        same = trials(root / "killed" / STUDY) == whole
        holds = same and 0 < before < len(whole)
        failed += said(
            f"killed after {before} of {len(whole)} trials, launched again: the same {same}", holds
        )
        count, wide = grid(root)
        holds = wide is None or wide >= GRID_WIDTH
        failed += said(f"a grid of {count} trials brackets to {wide and round(wide, 3)} decades", holds)
    return 1 if failed else 0


def said(line: str, holds: bool) -> int:
    """Print a line; 1 if it does not hold."""
    print(line if holds else f"{line} DOES NOT HOLD", flush=True)
    return int(not holds)


if __name__ == "__main__":
    sys.exit(main())
