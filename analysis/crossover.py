"""Where does random pruning overtake SNIP? Means with intervals, and the sparsity where it happens."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

import duckdb

from analysis.statistics import Below, Mean, mean_interval, stretches_below
from analysis.warehouse import query

# Half an accuracy point: with a handful of seeds, means that differ by less are equal.
MARGIN = 0.005


class Setting(NamedTuple):
    """What is the same for all criteria compared with one another."""

    dataset: str
    model: str
    epochs: int
    prune_epoch: float

    def __str__(self) -> str:
        return f"{self.dataset}, {self.model}, {self.epochs} epochs, pruned at epoch {self.prune_epoch:g}"


@dataclass(frozen=True)
class Crossover:
    """Where SNIP falls below one random baseline."""

    baseline: str
    sparsities: list[float]
    differences: list[Mean]

    @property
    def below(self) -> list[Below]:
        """The stretches of sparsity over which SNIP is below."""
        return stretches_below(self.sparsities, [mean.value for mean in self.differences], MARGIN)

    @property
    def at(self) -> float | None:
        """The sparsity where SNIP falls below for the last time, if it does within the range."""
        return self.below[-1].start if self.below else None

    def __str__(self) -> str:
        low, high = self.sparsities[0], self.sparsities[-1]
        if not self.below:
            return f"SNIP against {self.baseline}: no crossover in the range {low:g} to {high:g}"
        *_, final = self.below
        if len(self.below) == 1 and final.start is None and final.end is None:
            return f"SNIP is below {self.baseline} over the whole range {low:g} to {high:g}"
        if len(self.below) == 1 and final.start and final.end is None:
            ends = ", ".join(
                f"{mean.signed} at {sparsity:g}"
                for mean, sparsity in list(zip(self.differences, self.sparsities, strict=True))[
                    final.first - 1 : final.first + 1
                ]
            )
            return f"SNIP falls below {self.baseline} at sparsity {final.start:.3f} (difference {ends})"
        stretches = " and ".join(
            f"from {run.start or low:.3g} to {run.end or high:.3g}" for run in self.below
        )
        return f"SNIP is below {self.baseline} {stretches}, and level or above elsewhere"


@dataclass
class Comparison:
    """One setting: the accuracy of every criterion at every sparsity, and the crossovers."""

    setting: Setting
    means: dict[str, dict[float, Mean]] = field(default_factory=dict)
    crossovers: list[Crossover] = field(default_factory=list)

    @property
    def sparsities(self) -> list[float]:
        """All sparsities that were tested, rising."""
        return sorted({sparsity for row in self.means.values() for sparsity in row})


def compare(connection: duckdb.DuckDBPyConnection) -> list[Comparison]:
    """Comparisons of all settings with finished trials; test accuracy of the last epoch."""
    found: dict[Setting, Comparison] = {}
    for row in connection.execute(query("crossover")).fetchall():
        *setting, criterion, scope, iterations, sparsity, trials, mean, deviation = row
        comparison = found.setdefault(Setting(*setting), Comparison(Setting(*setting)))
        name = label(criterion, scope, iterations)
        comparison.means.setdefault(name, {})[sparsity] = mean_interval(mean, deviation, trials)
    paired: dict[tuple[Setting, str], list[tuple[float, Mean]]] = defaultdict(list)
    for row in connection.execute(query("difference")).fetchall():
        *setting, scope, sparsity, trials, mean, deviation = row
        paired[Setting(*setting), scope].append((sparsity, mean_interval(mean, deviation, trials)))
    for (place, scope), differences in paired.items():
        sparsities, means = zip(*sorted(differences, key=lambda pair: pair[0]), strict=True)
        found[place].crossovers.append(Crossover(label("random", scope, 1), list(sparsities), list(means)))
    return list(found.values())


def label(criterion: str, scope: str, iterations: int) -> str:
    """A short name: `snip`, `random erk`, `force T=20`."""
    words = [criterion]
    if scope != "global" or criterion == "random":
        words.append(scope)
    if iterations > 1:
        words.append(f"T={iterations}")
    return " ".join(words)
