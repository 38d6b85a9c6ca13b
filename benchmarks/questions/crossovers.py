"""Crossovers: wrong signs, wrong answers, and trials against those of the smallest grid."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.pool import Pool

import numpy as np

from benchmarks.questions.grids import smallest
from benchmarks.questions.truths import BRACKETED, COLLAPSING, HIGH, LOW, OTHERS, WIDTH, Study, Truth
from sweep.means import wilson
from sweep.questions.crossover import Crossover, Width
from sweep.questions.planner import ALPHA
from sweep.questions.simulation import simulated

WORKERS = (2, 8, 32)
# The mean ratio to the grid that must hold.
RATIO = 0.30
QUESTION = Crossover(first="first", second="second", low=LOW, high=HIGH, within=Width(WIDTH))


@dataclass(frozen=True)
class End:
    """How a simulated study ended.

    Attributes:
        wrong_sign: some sign that was called certain is wrong, or the arms are equal there.
        wrong: the answer says what is not so.
        split: the answer is of runs that did not collapse.
        held: the interval of the share of collapses holds it.
    """

    status: str
    wrong_sign: bool
    wrong: bool
    trials: int
    rounds: int
    split: bool
    held: bool


def ended(truth: Truth, workers: int, number: int) -> End:
    """The end of one simulated study."""
    study = Study(truth, number)
    answer, trials, rounds = simulated(QUESTION, {}, study, workers)
    found = answer.numbers
    first = found["arms"]["first"]
    split = any(arm["collapsed"] for arm in found["arms"].values())
    # Where no collapse was seen, the answer is about all runs.
    fall = 0.0 if split else 30 * truth.collapse
    true = {place: round(study.difference(place) - fall, 9) for place in found["certain"]}
    wrong_sign = any(sign * true[place] <= 0 for place, sign in found["certain"].items())
    bracket = found["bracket"]
    wrong = (
        wrong_sign
        if bracket is None or answer.status != "answered"
        else true[bracket[0]] * true[bracket[1]] >= 0
    )
    low, high = wilson(first["collapsed"], first["runs"])
    return End(answer.status, wrong_sign, wrong, trials, rounds, split, low <= truth.collapse <= high)


def rows(replications: int, pool: Pool) -> Iterator[tuple[str, bool]]:
    """Lines of the tables, and whether what they say holds."""
    yield (
        f"{'truth':<28} {'workers':>7} {'bracket':>8} {'none':>6} {'sign':>6} {'wrong':>6}  trials (90 %) rounds",
        True,
    )
    ratios: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    for truth in (*BRACKETED, *OTHERS):
        ends = {workers: _all(truth, workers, replications, pool) for workers in WORKERS}
        grid = None
        if truth in BRACKETED:
            often = np.mean([end.status == "answered" for own in ends.values() for end in own])
            # In so many studies one more or less is chance.
            grid = smallest(truth, min(float(often), 1 - 1 / 500))
        for workers, own in ends.items():
            trials = float(np.mean([end.trials for end in own]))
            if grid:
                ratios[workers].append(trials / grid)
            yield _line(truth, workers, own, grid)
    for workers, found in ratios.items():
        mean = float(np.mean(found))
        holds = mean <= RATIO
        yield f"mean ratio over {len(found)} truths, {workers} workers: {mean:.3f} {_verdict(holds)}", holds
    yield "collapse: signs and answers are of runs that did not collapse, once one did", True
    for truth in COLLAPSING:
        yield _collapse(truth, _all(truth, 8, replications, pool))


def _all(truth: Truth, workers: int, replications: int, pool: Pool) -> list[End]:
    # Truths are functions, which cannot be sent: the name of one can.
    return pool.map(functools.partial(_named, truth.name, workers), range(replications), chunksize=5)


def _named(name: str, workers: int, number: int) -> End:
    [truth] = [one for one in (*BRACKETED, *OTHERS, *COLLAPSING) if one.name == name]
    return ended(truth, workers, number)


def _line(truth: Truth, workers: int, ends: list[End], grid: int | None) -> tuple[str, bool]:
    shares = [
        np.mean([end.status == "answered" for end in ends]),
        np.mean([end.status == "none" for end in ends]),
        np.mean([end.wrong_sign for end in ends]),
        np.mean([end.wrong for end in ends]),
    ]
    trials = [end.trials for end in ends]
    holds = bool(max(shares[2:]) <= ALPHA)
    line = f"{truth.name:<28} {workers:>7} {100 * shares[0]:>7.1f}% " + " ".join(
        f"{100 * s:5.1f}%" for s in shares[1:]
    )
    line += f"  {np.mean(trials):5.0f} ({np.quantile(trials, 0.9):4.0f}) {np.mean([end.rounds for end in ends]):6.1f}"
    ratio = f"  grid {grid}, ratio {np.mean(trials) / grid:.2f}" if grid else ""
    beside = f"  (planned: {truth.known})" if workers == 2 and truth.known != "–" else ""
    return f"{line}{ratio}{beside}{'' if holds else ' ' + _verdict(False)}", holds


def _collapse(truth: Truth, ends: list[End]) -> tuple[str, bool]:
    of_all, of_others = [end for end in ends if not end.split], [end for end in ends if end.split]
    wrong_others = sum(end.wrong_sign for end in of_others) / len(ends)
    wrong_all = sum(end.wrong_sign for end in of_all) / len(ends)
    holds = wrong_others <= ALPHA
    line = (
        f"{truth.name:<32} split in {100 * len(of_others) / len(ends):5.1f} %; wrong sign of runs that did not collapse "
        f"{100 * wrong_others:.1f} %; of all runs, as none was seen, {100 * wrong_all:.1f} %; Wilson's interval holds "
        f"{100 * np.mean([end.held for end in ends]):.1f} %; {np.mean([end.trials for end in ends]):.0f} trials"
    )
    return f"{line}{'' if holds else ' ' + _verdict(False)}", holds


def _verdict(holds: bool) -> str:
    return "holds" if holds else "DOES NOT HOLD"
