"""Where does random pruning overtake SNIP? Means with intervals, and the sparsity where it happens."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb

from analysis.statistics import Below, Mean, mean_interval, stretches_below
from analysis.warehouse import query, rows

# Half an accuracy point: with a handful of seeds, means that differ by less are equal.
MARGIN = 0.005


Fields = dict[str, Any]
# Fields of a config that say how the mask is chosen; the others are the setting in which it is tested.
_CHOICE = ("criterion", "scope", "iterations", "schedule", "score_batches", "score_batch_size")
# Named in every label; the others only where they differ.
_SETTING = ("dataset", "model", "epochs", "prune_epoch")


@dataclass(frozen=True)
class Crossover:
    """Where SNIP falls below one random baseline."""

    snip: str
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
        name = self.snip.replace("snip", "SNIP")
        if not self.below:
            return f"{name} against {self.baseline}: no crossover in the range {low:g} to {high:g}"
        if len(self.below) == 1 and (run := self.below[0]).end is None:
            if run.start is None:
                return (
                    f"{name} is below {self.baseline} over the whole range {low:g} to {high:g}, "
                    f"{self._confidence(run)}"
                )
            before, after = (
                f"{self.differences[i].signed} at {self.sparsities[i]:g}" for i in (run.first - 1, run.first)
            )
            return (
                f"{name} falls below {self.baseline} at sparsity {digits(run.start)} by interpolation "
                f"({before}, {after}), {self._confidence(run)}"
            )
        stretches = " and ".join(
            f"from {digits(run.start or low)} to {digits(run.end or high)} ({self._confidence(run)})"
            for run in self.below
        )
        return f"{name} is below {self.baseline} {stretches}"

    def _confidence(self, run: Below) -> str:
        """What the 95 % intervals of the paired differences say about a stretch."""
        tested = range(run.first, run.last + 1)
        clear = [f"{self.sparsities[i]:g}" for i in tested if self.differences[i].negative]
        return f"with 95 % confidence at {', '.join(clear)}" if clear else "nowhere with 95 % confidence"


def digits(sparsity: float) -> str:
    """A sparsity with as many digits as its density has meaning."""
    return f"{sparsity:.{max(3, math.ceil(-math.log10(1 - sparsity)) + 1)}f}"


@dataclass
class Comparison:
    """One setting: the accuracy of every arm at every sparsity, and the crossovers."""

    setting: str
    means: dict[str, dict[float, Mean]] = field(default_factory=dict)
    crossovers: list[Crossover] = field(default_factory=list)

    @property
    def sparsities(self) -> list[float]:
        """All sparsities that were tested, rising."""
        return sorted({sparsity for row in self.means.values() for sparsity in row})


def compare(connection: duckdb.DuckDBPyConnection) -> list[Comparison]:
    """Comparisons of all settings with finished trials; test accuracy of the last epoch."""
    answers = rows(connection, query("crossover"))
    configs = {row[0]: json.loads(row[0]) for row in answers}
    settings, arms = _labels(configs)
    found = {name: Comparison(name) for name in sorted(set(settings.values()))}
    for arm, sparsity, trials, lost, mean, deviation in answers:
        # The dense network is the same whenever the others are pruned.
        places = (
            {settings[other] for other in configs if _rest(configs[other]) == _rest(configs[arm])}
            if configs[arm]["criterion"] == "dense"
            else {settings[arm]}
        )
        for place in places:
            means = found[place].means.setdefault(arms[arm], {})
            means[sparsity] = mean_interval(mean, deviation, trials, lost)
    paired: dict[tuple[str, str], list[tuple[float, Mean]]] = defaultdict(list)
    for snip, random, sparsity, trials, mean, deviation in rows(connection, query("difference")):
        paired[snip, random].append((sparsity, mean_interval(mean, deviation, trials)))
    for (snip, random), differences in paired.items():
        sparsities, means_of_difference = zip(*differences, strict=True)
        found[settings[snip]].crossovers.append(
            Crossover(arms[snip], arms[random], list(sparsities), list(means_of_difference))
        )
    return list(found.values())


def _labels(configs: Mapping[str, Fields]) -> tuple[dict[str, str], dict[str, str]]:
    """Two labels of each arm, by its text: the setting it was tested in, and how it chose its mask.

    Both name a field that is not always named where it takes more than one value.
    """

    def varying(fields: Iterable[str], among: Iterable[Fields]) -> list[str]:
        return [name for name in fields if len({config.get(name) for config in among}) > 1]

    every = list(configs.values())
    others = sorted({name for config in every for name in config} - {*_CHOICE, *_SETTING})
    also = varying(others, every)
    settings, arms = {}, {}
    for text, config in configs.items():
        settings[text] = "{dataset}, {model}, {epochs} epochs, pruned at epoch {prune_epoch}".format(**config)
        settings[text] += "".join(f", {name} {config[name]}" for name in also if name in config)
    for text, config in configs.items():
        alike = [
            other
            for key, other in configs.items()
            if settings[key] == settings[text] and _name(other) == _name(config)
        ]
        arms[text] = " ".join([_name(config), *(f"{n}={config.get(n)}" for n in varying(_CHOICE, alike))])
    return settings, arms


def _rest(config: Fields) -> Fields:
    """A config less how and when the mask is chosen."""
    return {name: value for name, value in config.items() if name not in (*_CHOICE, "prune_epoch")}


def _name(config: Fields) -> str:
    """A short name: `snip`, `random erk`, `force T=20`."""
    words = [config["criterion"]]
    if config["scope"] != "global" or config["criterion"] == "random":
        words.append(config["scope"])
    if config["iterations"] > 1:
        words.append(f"T={config['iterations']}")
    return " ".join(words)
