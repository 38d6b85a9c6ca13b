"""The scope of each update of a rule along training, which may ask the network for densities."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import pruners
from pruners.scopes import Scope
from sweep.rules.run import Run
from sweep.seeds import derive


class AskedScope:
    """The scope of a run, or the densities that it asks for at an update, by the network of that moment.

    Each update looks at batches of its own, and asks from the densities of the last one on, as Adapt-Pruner
    does between its prunes.
    """

    def __init__(self, run: Run) -> None:
        self._run, self._batches, self._passes = run, run.batches(), 0
        # The density of the network at the last update, and of its parameters by name.
        self._last: tuple[float, Mapping[str, float]] = (1 - run.config.initial_sparsity, {})

    def at(self, sparsity: Fraction) -> Scope:
        """The scope of an update to a sparsity."""
        run, scope = self._run, self._run.scope
        if not isinstance(scope, str) or scope not in pruners.BUDGETS:
            return scope
        self._passes += 1
        found = pruners.asked_densities(
            scope,
            run.model,
            pruners.prunable(run.model, run.exclude),
            self._batches,
            loss=run.loss,
            seed=derive(run.config.roots.mask, "scope", self._passes),
            sparsity=sparsity,
            last=self._last,
        )
        self._last = float(1 - sparsity), found
        return found

    def state_dict(self) -> dict[str, Any]:
        """How many updates have drawn batches: the next one draws others. The densities of the last one."""
        return {"passes": self._passes, "last": self._last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the batches after those of a state."""
        for _ in range(state["passes"] - self._passes):
            next(iter(self._batches))
        self._passes, self._last = state["passes"], state["last"]
