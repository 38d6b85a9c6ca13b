"""A twin: the training after the last pruning once more, in another order of data, and how the two differ.

The outcomes are those of the three-regime model (Zhou et al. 2023): linear mode connectivity (Frankle et al.
2020), linear CKA (Kornblith et al. 2019), and a distance of weights. All are of training data.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

import pruners
from sweep.config import Config
from sweep.models import cost
from sweep.store.states import State
from sweep.trial.recorder import Recorder
from sweep.trial.rows import Row
from sweep.trial.training import Training

# Networks on the straight line between the two, both ends included.
POINTS = 11
# The most training images whose outputs are compared, and the most numbers of these outputs.
_IMAGES, _NUMBERS = 10_000, 2 * 10**7


class Twin:
    """The second training of one trial. It leaves the trial's own network and counts as they were.

    Attributes:
        step: step of the dense training at which the two part; None: they part after the last pruning.
        start: the training where the two part; None: it is not there yet.
        own: the trial's own training at its end; None: it has not ended.
    """

    def __init__(
        self, config: Config, training: Training, recorder: Recorder, exclude: list[str], epoch: float | None
    ) -> None:
        self._config, self._training, self._recorder = config, training, recorder
        self._exclude = exclude
        self.step = None if epoch is None else training.steps_of(epoch)
        self.start: State | None = None
        self.own: State | None = None

    def part(self) -> None:
        """Keep the training as it is now: the twin goes on from here too."""
        self.start = _copied(self._training.state())

    def state(self) -> dict[str, State | None]:
        """All that the twin depends on beside the training."""
        return {"start": self.start, "own": self.own}

    def can_restore(self, state: Any) -> bool:
        """Whether `state` made a state. The file of a state may have any content."""
        return isinstance(state, Mapping) and all(
            name in state and (state[name] is None or self._training.can_restore(state[name]))
            for name in self.state()
        )

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.start, self.own = state["start"], state["own"]

    def train(self, resumed: bool = False) -> None:
        """Train the twin, compare it with the trial's own network, and record what was found.

        A twin that diverges is compared with nothing, and its columns stay empty.

        Args:
            resumed: the training is at a checkpoint within the twin's.
        """
        training = self._training
        if not resumed:
            assert self.start
            self.own = _copied(training.state())
            training.restore(self.start)
            training.spent = self.own["spent"]  # for whoever follows how far the trial is
        assert self.own
        # The order, the augmentation, and what layers draw.
        training.config = replace(self._config, order_seed=self._config.twin_seed)
        try:
            sound = all(map(self._follow, self._recorder.timed(training.run(training.end))))
        finally:
            training.config = self._config
        if sound:
            with self._recorder.evaluating():
                self._recorder.twin = self._compared(self.own["model"], training.snapshot())
        training.restore(self.own)

    def _follow(self, train_loss: float) -> bool:
        """Say that an epoch of the twin has ended. False if the twin has diverged."""
        if self._recorder.curves:
            self._recorder.follow(self._recorder.curves[-1])
        return self._recorder.is_bounded(train_loss)

    def _compared(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Row:
        """The columns of `trials` that say how two networks differ."""
        one = {name: tensor.to(other[name].device) for name, tensor in one.items()}
        errors = [self._error(one, other, place / (POINTS - 1)) for place in range(POINTS)]
        names = pruners.prunable(self._training.model, self._exclude)
        found = {
            "lmc_barrier": barrier(errors),
            "cka": cka(*self._outputs(one, other)),
            "weight_distance": distance(
                [one[name] for name in names],
                [other[name] for name in names],
            ),
        }
        return {name: value if math.isfinite(value) else None for name, value in found.items()}

    def _error(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor], at: float) -> float:
        """The training error at a place between two networks, with BatchNorm statistics of its own."""
        training = self._training
        training.model.load_state_dict(between(one, other, at))
        if not cost.normalizes(training.model):
            return 1 - training.evaluate(training.data.train)[1]
        with training.recalibrated():
            return 1 - training.evaluate(training.data.train)[1]

    def _outputs(self, *networks: Mapping[str, Tensor]) -> list[Tensor]:
        """The outputs (n, ...) of each network for the same training images, as they are trained."""
        training, train = self._training, self._training.data.train
        width = training.outputs(train.part(torch.arange(1))).numel()
        count = min(len(train), _IMAGES, max(2, _NUMBERS // width))
        images, found = train.part(torch.arange(count)), []
        for network in networks:
            training.model.load_state_dict(network)
            found.append(training.outputs(images))
        return found


def between(one: Mapping[str, Tensor], other: Mapping[str, Tensor], at: float) -> dict[str, Tensor]:
    """The weights at a place on the straight line between two networks.

    Whole numbers, such as counts of batches, are those of the first.

    Args:
        at: the place, from 0 at the first to 1 at the other.
    """
    return {
        name: torch.lerp(tensor, other[name], at) if tensor.is_floating_point() else tensor
        for name, tensor in one.items()
    }


def barrier(errors: Sequence[float]) -> float:
    """The linear mode connectivity of two networks (Zhou et al. 2023): negative is a barrier between them.

    It is the mean error of both ends less the error at the place where the two differ most. Of several such
    places the first counts: where the error only rises or only falls the ends differ most, and the sign is
    that of the other end's error less the first's.

    Args:
        errors: on a straight line from one network to the other, ends included; at least two.
    """
    ends = (errors[0] + errors[-1]) / 2
    # Rounded: both ends are equally far from their mean.
    return max((ends - error for error in errors), key=lambda difference: round(abs(difference), 12))


def cka(one: Tensor, other: Tensor) -> float:
    """Linear centred kernel alignment of outputs, ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖), in [0, 1] (Kornblith et al. 2019).

    X and Y are the outputs less their mean over the samples; ‖·‖ is Frobenius' norm.

    Args:
        one, other: outputs of two networks for the same samples, (n, ...); all behind the first dimension are
            features.

    Returns:
        NaN where a network's outputs are all alike.
    """
    x, y = (outputs.flatten(1).double() for outputs in (one, other))
    x, y = x - x.mean(0), y - y.mean(0)
    if x.shape[1] > x.shape[0]:  # ‖YᵀX‖² = ⟨XXᵀ, YYᵀ⟩, the smaller matrices
        x, y = x @ x.T, y @ y.T
        both, *alone = (float((a * b).sum()) for a, b in ((x, y), (x, x), (y, y)))
    else:
        both, *alone = (float((b.T @ a).square().sum()) for a, b in ((x, y), (x, x), (y, y)))
    # The root of a product, not the product of roots: equal outputs have exactly 1.
    norms = math.sqrt(alone[0] * alone[1])
    return min(1.0, both / norms) if norms else math.nan


def distance(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """The Euclidean distance of two networks' weights over the mean of their norms, in [0, 2].

    Pruned weights are 0 in both networks and add nothing. Networks without any weight have the distance 0.

    Args:
        one, other: the weights, layer by layer.
    """
    a, b = (torch.cat([weight.flatten().double() for weight in each]) for each in (one, other))
    norms = float(a.norm() + b.norm()) / 2
    return float((a - b).norm()) / norms if norms else 0.0


def _copied(state: Any) -> Any:
    """A copy of a state in the machine's memory: a GPU needs none of its own for a twin."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {name: _copied(value) for name, value in state.items()}
    return [_copied(value) for value in state] if isinstance(state, list) else copy.deepcopy(state)
