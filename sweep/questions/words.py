"""What the sentences of all answers have in common: numbers, and the runs that do not count."""

from collections.abc import Iterable, Mapping
from typing import Any

from sweep.means import LEVEL, decimals, wilson
from sweep.questions.planner import Status

# How the sentence of an answer begins.
ENDS: dict[Status, str] = {
    "answered": "",
    "none": "",
    "open": "All seeds that a sparsity may have are spent.",
    "spent": "The budget is spent.",
}
# (finished seeds, lost, collapsed) of an arm.
Counts = tuple[int, int, int]


def number(value: float, width: float | None = None) -> str:
    """A number with two significant digits of the width of its interval, and a proper minus."""
    digits = decimals(width) if width else 3
    return f"{value:.{digits}f}".replace("-", "−")


def counted(count: int, noun: str) -> str:
    """A number of things."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def unseen(count: int) -> float:
    """The share of runs that may collapse unseen: with that share, one of so many runs does with 95 %."""
    return 1 - (1 - LEVEL) ** (1 / count) if count else 1.0


def caveats(counts: Mapping[str, Counts]) -> str:
    """Sentences about the runs that an answer leaves out; "" if there are none.

    Args:
        counts: of each arm.
    """
    said = []
    if any(lost for _, lost, _ in counts.values()):
        those = ", ".join(f"{lost} of {seeds} of {arm}" for arm, (seeds, lost, _) in counts.items() if lost)
        said.append(f"Lost trials, which are left out: {those}.")
    if any(collapsed for _, _, collapsed in counts.values()):
        shares = "; ".join(_share(arm, *found) for arm, found in counts.items())
        said.append(
            "Some runs collapsed: the answer is about runs that did not, and not about the mean of all. "
            f"Collapsed: {shares}."
        )
    return " ".join(said)


def _share(arm: str, seeds: int, lost: int, collapsed: int) -> str:
    low, high = wilson(collapsed, seeds - lost)
    return f"{arm} {collapsed} of {seeds - lost} ({100 * low:.0f} to {100 * high:.0f} %)"


def left_out(counts: Mapping[str, Counts]) -> dict[str, Any]:
    """The same as numbers: runs of each arm, those lost and collapsed, and the share that may be unseen."""
    found = {}
    for arm, (seeds, lost, collapsed) in counts.items():
        kept = seeds - lost
        found[arm] = {
            "runs": seeds,
            "lost": lost,
            "collapsed": collapsed,
            "share": list(wilson(collapsed, kept)) if kept else None,
            "unseen": unseen(kept),
        }
    return found


def added(counts: Iterable[Counts]) -> Counts:
    """The sums over places."""
    seeds, lost, collapsed = (sum(column) for column in zip((0, 0, 0), *counts, strict=True))
    return seeds, lost, collapsed


def joined(*texts: str) -> str:
    """Texts with a space between them, without those that are empty."""
    return " ".join(text for text in texts if text)
