"""Optuna's samplers, by their names in study files."""

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
    """Optuna's grid without its `study.stop()`, which fails outside `optimize()`: we ask and tell."""

    def after_trial(self, *args: object) -> None:
        """Do nothing."""


def _tpe(search: Search, seed: int) -> BaseSampler:
    # Dimensions are modelled jointly, in groups that matter together; Optuna calls that experimental.
    # Running trials count as poor (constant liar) by default, so that workers do not all try the same.
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        return TPESampler(seed=seed, multivariate=True, group=True)


SAMPLERS: dict[str, Callable[[Search, int], BaseSampler]] = {
    "tpe": _tpe,
    "nsga2": lambda search, seed: NSGAIISampler(seed=seed),
    "gp": lambda search, seed: GPSampler(seed=seed),
    # CMA-ES has no lists of values and no conditional dimensions: these are drawn at random.
    "cma-es": lambda search, seed: CmaEsSampler(seed=seed, warn_independent_sampling=False),
    "random": lambda search, seed: RandomSampler(seed=seed),
    # The same seed each time: Optuna remembers which points of the grid, in this order, it has chosen.
    "grid": lambda search, seed: _Grid({d.name: d.values for d in search.dimensions}, seed=0),
}
