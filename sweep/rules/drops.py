"""Drops: the saliency by which weights stay when masks change along training."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

import pruners
from sweep.rules.choices import Choices
from sweep.rules.run import Run
from sweep.seeds import derive

Scores = dict[str, Tensor]


def gradient(weight: Tensor) -> Tensor:
    """The gradient of a weight; 0 where there is none."""
    return torch.zeros_like(weight) if weight.grad is None else weight.grad


def signed(weight: Tensor, mask: Tensor) -> Tensor:
    """The rank of |w| among the kept weights of its sign, from 0 to 1.

    The lowest scores are as large a share of the positive weights as of the negative ones: Mocanu et al. 2018
    drop the smallest positive weights and the largest negative ones.
    """
    flat, kept = weight.flatten(), mask.flatten()
    scores = torch.full_like(flat, -torch.inf, dtype=torch.float64)
    for side in (kept & (flat >= 0), kept & (flat < 0)):
        count = int(side.count_nonzero())
        ranks = flat.new_empty(count, dtype=torch.float64)
        order = flat[side].abs().argsort(stable=True)
        ranks[order] = torch.arange(count, dtype=torch.float64, device=flat.device)
        scores[side] = (ranks + 0.5) / max(1, count)
    return scores.view(weight.shape)


# A weight, its mask, and the options of the rule → scores.
_OF_A_STEP: dict[str, Callable[[Tensor, Tensor, Choices], Tensor]] = {
    "magnitude": lambda weight, mask, choices: weight.abs(),
    "magnitude+gradient": lambda weight, mask, choices: (
        weight.abs() + choices.gradient_weight * gradient(weight).abs()
    ),
    "taylor": lambda weight, mask, choices: (weight * gradient(weight)).abs(),
    "signed": lambda weight, mask, choices: signed(weight, mask),
}


class Drop:
    """Scores every weight at an update. Pruned weights score below all others; by magnitude they score 0."""

    def __init__(self, choices: Choices, run: Run) -> None:
        self._choices, self._run = choices, run
        self._criterion = choices.criterion
        # Each pass draws others: every update scores on batches of its own.
        self._batches = run.batches()
        self._passes = 0

    def scores(self, masks: pruners.Masks, step: int) -> Scores:
        """Name of each prunable weight → its scores at the masks that are on."""
        found = self._saliency(masks, step) if self._criterion else self._of_a_step(masks)
        if self._choices.drop == "magnitude":
            return found
        return {name: scores.masked_fill(~masks[name], -torch.inf) for name, scores in found.items()}

    @torch.no_grad()
    def _of_a_step(self, masks: pruners.Masks) -> Scores:
        score = _OF_A_STEP[self._choices.drop]
        weights = pruners.prunable(self._run.model, self._run.exclude)
        return {name: score(weight, masks[name], self._choices) for name, weight in weights.items()}

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
        """How many updates have drawn batches: the next one draws others."""
        return {"passes": self._passes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the batches after those of a state."""
        for _ in range(state["passes"] - self._passes):
            next(iter(self._batches))
        self._passes = state["passes"]
