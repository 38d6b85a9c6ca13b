"""Optuna's samplers, by the names that study files have for them."""

import warnings
from collections.abc import Callable

import optuna
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    GridSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)

from sweep.study.space import Search


class _Grid(GridSampler):
    """Optuna's, whose own loop it would stop when all is told: here there is none."""

    def after_trial(self, *told: object) -> None:
        """Stop nothing."""


def _tpe(search: Search, seed: int) -> BaseSampler:
    # Together, and in groups that matter together: experimental in Optuna's own words. What is under way
    # counts as poor (constant liar) by default, so that workers do not all try the same.
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        return TPESampler(seed=seed, multivariate=True, group=True)


SAMPLERS: dict[str, Callable[[Search, int], BaseSampler]] = {
    "tpe": _tpe,
    "nsga2": lambda search, seed: NSGAIISampler(seed=seed),
    "gp": lambda search, seed: GPSampler(seed=seed),
    # Lists of values, and what does not always matter, are drawn at random beside it.
    "cma-es": lambda search, seed: CmaEsSampler(seed=seed, warn_independent_sampling=False),
    "random": lambda search, seed: RandomSampler(seed=seed),
    # Always in the same order: Optuna remembers the places in it that it has been at.
    "grid": lambda search, seed: _Grid({d.name: d.values for d in search.dimensions}, seed=0),
}
