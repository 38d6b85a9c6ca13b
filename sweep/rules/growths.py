"""Growths: which pruned weights come back when masks change along training."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

import pruners
from sweep.rules.choices import Choices
from sweep.rules.drops import Scores
from sweep.rules.run import Run
from sweep.rules.step_scores import gradient
from sweep.seeds import generator


class Growth:
    """Scores every weight at an update; pruned weights with the highest scores come back.

    Where a growth needs them, it keeps a moving average of the gradient, which pruned weights have too, and
    which weights a mask ever kept. The optimizer's momentum would not do: that of pruned weights is 0.
    """

    def __init__(self, choices: Choices, run: Run) -> None:
        self._choices, self._run = choices, run
        self._kind = choices.grow
        weights = pruners.prunable(run.model, run.exclude)
        # Name → what the growth remembers of each weight.
        self._memory: dict[str, Tensor] = {}
        if self._kind == "momentum":
            self._memory = {name: torch.zeros_like(weight.detach()) for name, weight in weights.items()}
        if self._kind == "unexplored":
            self._memory = {name: torch.zeros_like(w, dtype=torch.bool) for name, w in weights.items()}

    @torch.no_grad()
    def watch(self) -> None:
        """Take the gradients of a step into the average."""
        if self._kind == "momentum":
            weights = pruners.prunable(self._run.model, self._run.exclude)
            for name, average in self._memory.items():
                average.lerp_(gradient(weights[name]), 1 - self._choices.average)

    def explore(self, masks: pruners.Masks) -> None:
        """Note which weights masks keep."""
        if self._kind == "unexplored":
            for name, explored in self._memory.items():
                explored |= masks[name]

    @torch.no_grad()
    def scores(self, step: int) -> Scores:
        """Name of each prunable weight → its scores."""
        draws = generator(self._run.config.roots.mask, "grow", step)

        def drawn(weight: Tensor) -> Tensor:
            return torch.rand(weight.shape, generator=draws).to(weight.device)

        score: Mapping[str, Callable[[str, Tensor], Tensor]] = {
            "random": lambda name, weight: drawn(weight),
            "gradient": lambda name, weight: gradient(weight).abs(),
            "momentum": lambda name, weight: self._memory[name].abs(),
            "unexplored": lambda name, weight: drawn(weight) - self._memory[name].float(),
            "all": lambda name, weight: torch.zeros_like(weight),
        }
        weights = pruners.prunable(self._run.model, self._run.exclude)
        return {name: score[self._kind](name, weight) for name, weight in weights.items()}

    def state_dict(self) -> dict[str, Any]:
        """What is remembered of each weight."""
        return {"memory": dict(self._memory)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the memory of a state."""
        for name, values in self._memory.items():
            values.copy_(state["memory"][name])
