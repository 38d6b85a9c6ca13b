"""Which weights a training has explored: those that a mask kept while it trained."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Exploration:
    """The union of the masks under which a network was trained.

    Its share of all weights is the exploration rate of In-Time Over-Parameterization (Liu et al. 2021). Masks
    are of the network that the trial prunes, also where a smaller one is trained.
    """

    def __init__(self, model: nn.Module) -> None:
        self._shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
        self._union: dict[str, Tensor] = {}
        # Whether there was training without masks, and the steps of training until masks were last noted.
        self._whole, self._noted = False, 0

    def note(self, masks: Mapping[str, Tensor], spent: int) -> None:
        """Note the masks that were on until now, if there was a step of training under them.

        Args:
            masks: of the prunable weights; without any, all weights were trained.
            spent: all steps of the training.
        """
        if spent > self._noted and not self._whole:
            self._union, self._whole = self._with(masks)
        self._noted = spent

    def _with(self, masks: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
        """The union with masks, and whether it is of all weights."""
        union = {name: mask | self._union[name] if self._union else mask for name, mask in masks.items()}
        whole = all(bool(mask.all()) for mask in union.values())
        return {} if whole else union, whole

    def share(self, masks: Mapping[str, Tensor], spent: int) -> float:
        """Share of the prunable weights that are in the union, those that are kept at last included."""
        self.note(masks, spent)
        union, whole = ({}, True) if self._whole else self._with(masks)
        if whole:
            return 1.0
        return sum(int(mask.count_nonzero()) for mask in union.values()) / sum(
            mask.numel() for mask in union.values()
        )

    def state(self) -> dict[str, Any]:
        """All that the union depends on."""
        return {"union": self._union, "whole": self._whole, "noted": self._noted}

    def can_restore(self, state: Mapping[str, Any]) -> bool:
        """Whether `state` made a state for such a network; other content may raise any exception."""
        return (
            type(state["whole"]) is bool
            and type(state["noted"]) is int
            and all(
                (mask.shape, mask.dtype) == (self._shapes[name], torch.bool)
                for name, mask in state["union"].items()
            )
        )

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from a state."""
        self._union = {name: mask.to(device) for name, mask in state["union"].items()}
        self._whole, self._noted = state["whole"], state["noted"]
