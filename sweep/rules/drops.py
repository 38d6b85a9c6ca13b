"""Drops: the saliency by which weights stay when masks change along training."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

import pruners
from sweep.rules.choices import Choices
from sweep.rules.run import LowRank, Run
from sweep.rules.step_scores import STEP_SCORES, gradient
from sweep.seeds import derive

Scores = dict[str, Tensor]


class Drop:
    """Scores every weight at an update.

    Pruned weights score below all others. By magnitude they score 0, and so do those of units, whose scores
    are added up.
    """

    def __init__(self, choices: Choices, run: Run, adapters: LowRank | None = None) -> None:
        """A drop of a run, some of which need the adapters that train its weights."""
        self._choices, self._run, self._adapters = choices, run, adapters
        self._criterion = choices.criterion
        # Each pass draws others: every update scores on batches of its own.
        self._batches = run.batches()
        self._passes = 0
        # Name → a moving average of the scores of each weight.
        self._averages: Scores = {}
        if choices.averages_drop:
            weights = pruners.prunable(run.model, run.exclude)
            self._averages = {name: torch.zeros_like(weight.detach()) for name, weight in weights.items()}

    def watch(self, masks: pruners.Masks) -> None:
        """Take the scores of a step into the average."""
        for name, scores in self._of_a_step(masks).items() if self._averages else ():
            self._averages[name].lerp_(scores, 1 - self._choices.average)

    def scores(self, masks: pruners.Masks, step: int) -> Scores:
        """Name of each prunable weight → its scores at the masks that are on."""
        found = self._averages or (self._saliency(masks, step) if self._criterion else self._of_a_step(masks))
        units = bool(self._run.units)
        if self._choices.drop == "magnitude" or (units and self._choices.drops_by_draws):
            return found
        pruned = 0.0 if units else -torch.inf
        return {name: scores.masked_fill(~masks[name], pruned) for name, scores in found.items()}

    @torch.no_grad()
    def _of_a_step(self, masks: pruners.Masks) -> Scores:
        score, worth = STEP_SCORES[self._choices.drop], self._choices.gradient_weight
        weights = pruners.prunable(self._run.model, self._run.exclude)
        if self._choices.estimates_drop:
            assert self._adapters
            slopes = self._adapters.estimates(masks)
        else:
            slopes = {name: gradient(weight) for name, weight in weights.items()}
        return {name: score(weight, slopes[name], masks[name], worth) for name, weight in weights.items()}

    def _saliency(self, masks: pruners.Masks, step: int) -> Scores:
        run, config = self._run, self._run.config
        self._passes += 1
        steps = pruners.trajectory(
            self._choices.drop,
            run.model,
            self._batches,
            sparsity=0,
            iterations=1,
            loss=run.loss,
            seed=derive(config.roots.mask, "drop", step),
            exclude=run.exclude,
            score_mode=None if config.score_mode == "own" else config.score_mode,
            start=masks,
        )
        return next(steps).scores

    def state_dict(self) -> dict[str, Any]:
        """How many updates have drawn batches: the next one draws others. The averages of scores."""
        return {"passes": self._passes, "averages": dict(self._averages)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the batches after those of a state."""
        for _ in range(state["passes"] - self._passes):
            next(iter(self._batches))
        self._passes = state["passes"]
        for name, average in self._averages.items():
            average.copy_(state["averages"][name])
