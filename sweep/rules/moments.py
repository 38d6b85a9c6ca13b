"""Moments: indicators that watch the dense training and say when to prune. One class is one indicator.

Epochs are counted from 1, at their ends. A new indicator is one class and one entry of the table here.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

import pruners
from sweep.config import Config
from sweep.rules.run import Run

# Gives the masks that would be chosen were the network pruned now.
Masks = Callable[[], pruners.Masks]
# Epochs that the indicators of masks look back to.
_BACK = 5
# EPI above which a network's structure is stable: for magnitude, and for scores by gradients.
_EPI_OF_MAGNITUDE, _EPI = 0.983, 0.944
# Share of the weights in which masks differ at the most.
_DISTANCE = 0.1


class Moment:
    """An indicator, as it watches one training. Called after each epoch, it says whether to prune then.

    Attributes:
        earliest: the first epoch that it may choose.
        of_masks: whether it looks at the masks that the trial's criterion would choose.
    """

    earliest = 1
    of_masks = True

    def __init__(self, run: Run, masks: Masks) -> None:
        self._run, self._masks = run, masks

    def _kept(self) -> pruners.Masks:
        """Which weights or units the trial's criterion would keep now, by layer or by group of units."""
        masks, units = self._masks(), self._run.units
        return pruners.kept_units(units, masks) if units else masks

    @staticmethod
    def inconsistencies(config: Config) -> Iterator[tuple[str, str]]:
        """Fields that do not go with the indicator, each with one line that says why."""
        return iter(())

    def __call__(self, epoch: int) -> bool:
        """Look at the network after an epoch; True: it is to be pruned now."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """All that later answers depend on."""
        raise NotImplementedError

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        raise NotImplementedError


class Stable(Moment):
    """The weights move by as much in each epoch: EarlyCroP, Rachwan et al. 2022.

    Δ_e = ‖θ_1 − θ_e‖ / ‖θ_1‖ with all parameters θ_e after epoch e. The prune comes when |Δ_e − Δ_(e−1)| is
    below a share of Δ_2: 1 − s at sparsity s; with units min(0.9 − s, 0.99), which no change is below
    from a sparsity of 0.9 on.
    """

    earliest = 3
    of_masks = False

    def __init__(self, run: Run, masks: Masks) -> None:
        super().__init__(run, masks)
        config = run.config
        whole = not run.units
        usual = 1 - config.sparsity if whole else min(0.9 - config.sparsity, 0.99)
        self._share = usual if config.prune_threshold is None else config.prune_threshold
        self._first: Tensor | None = None
        self._distances: list[float] = []

    def __call__(self, epoch: int) -> bool:
        """Whether the distance from the first epoch has changed by less than the threshold."""
        with torch.no_grad():
            weights = torch.cat([parameter.flatten() for parameter in self._run.model.parameters()])
        if self._first is None:
            self._first = weights
            return False
        moved, length = (_norm(each) for each in (weights - self._first, self._first))
        self._distances.append(moved / length if length else 0.0)
        if len(self._distances) == 1:
            return False
        before, now = self._distances[-2:]
        return abs(now - before) < self._share * self._distances[0]

    def state_dict(self) -> dict[str, Any]:
        """The weights after the first epoch, and how far those after each epoch are from them."""
        return {"first": self._first, "distances": self._distances}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the distances of a state."""
        device = next(self._run.model.parameters()).device
        self._first = None if state["first"] is None else state["first"].to(device)
        self._distances = list(state["distances"])


class Epi(Moment):
    """The numbers of weights in the layers change no more: the Early Pruning Indicator, Shen et al. 2022.

    Ψ(t, t') = 1 − mean over layers of |n − n'| / (n + n') with the units n, n' that pruning after epoch t or
    t' would leave. EPI_t is the mean of Ψ(t, t') over the five epochs before t. The prune comes when EPI_t is
    at least 0.983 (magnitude; 0.944 with other criteria) and not below the EPI of the five epochs before.
    """

    earliest = 2 * _BACK + 1

    def __init__(self, run: Run, masks: Masks) -> None:
        super().__init__(run, masks)
        usual = _EPI_OF_MAGNITUDE if run.config.criterion == "magnitude" else _EPI
        self._least = usual if run.config.prune_threshold is None else run.config.prune_threshold
        self._counts: deque[list[int]] = deque(maxlen=_BACK)
        self._values: deque[float] = deque(maxlen=_BACK)

    @staticmethod
    def inconsistencies(config: Config) -> Iterator[tuple[str, str]]:
        """A scope that fixes the counts of the layers."""
        if config.scope != "global":
            yield (
                "scope",
                f"scope {config.scope} with prune_when epi: its counts of layers never change: take global",
            )

    def __call__(self, epoch: int) -> bool:
        """Whether the index is high and not below those before it."""
        counts = [int(mask.count_nonzero()) for mask in self._kept().values()]
        found = False
        if len(self._counts) == _BACK:
            value = fmean(alike(counts, before) for before in self._counts)
            full = len(self._values) == _BACK
            found = full and value >= self._least and value >= max(self._values)
            self._values.append(value)
        self._counts.append(counts)
        return found

    def state_dict(self) -> dict[str, Any]:
        """The counts and the indices of the last epochs."""
        return {"counts": list(self._counts), "values": list(self._values)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the epochs of a state."""
        self._counts, self._values = (deque(state[name], _BACK) for name in ("counts", "values"))


class MaskDistance(Moment):
    """The mask changes no more: Early-Bird tickets, You et al. 2020.

    The prune comes when the masks before and after each of the last five epochs differ in less than 0.1 of
    the units. Masks of sparsity s differ in a share of 2 (1 − s) at the most, so that a high sparsity needs a
    lower threshold.
    """

    earliest = _BACK + 1

    def __init__(self, run: Run, masks: Masks) -> None:
        super().__init__(run, masks)
        self._most = _DISTANCE if run.config.prune_threshold is None else run.config.prune_threshold
        self._last: pruners.Masks | None = None
        self._distances: deque[float] = deque(maxlen=_BACK)

    def __call__(self, epoch: int) -> bool:
        """Whether all of the last distances are below the threshold."""
        masks = self._kept()
        if self._last is not None:
            differing = sum(int((mask ^ self._last[name]).count_nonzero()) for name, mask in masks.items())
            self._distances.append(differing / sum(mask.numel() for mask in masks.values()))
        self._last = masks
        return len(self._distances) == _BACK and max(self._distances) < self._most

    def state_dict(self) -> dict[str, Any]:
        """The masks of the last epoch, and the last distances."""
        return {"last": self._last, "distances": list(self._distances)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the epochs of a state."""
        device = next(self._run.model.parameters()).device
        last = state["last"]
        self._last = last if last is None else {name: mask.to(device) for name, mask in last.items()}
        self._distances = deque(state["distances"], _BACK)


def alike(counts: list[int], others: list[int]) -> float:
    """How alike two structures are, by the units of their layers: 1 if they are equal.

    Layers that are empty in both count as equal.
    """
    pairs = zip(counts, others, strict=True)
    return 1 - fmean(abs(one - other) / max(1, one + other) for one, other in pairs)


def _norm(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64))


MOMENTS: Mapping[str, type[Moment]] = {"stable": Stable, "epi": Epi, "mask-distance": MaskDistance}
