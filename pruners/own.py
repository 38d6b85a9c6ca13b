"""Functions of one's own as criteria: each is run on copies, and its scores are checked.

A function takes a probe, `(probe, *, …) -> scores`, or the network itself, `(model, batches, loss, *, …) ->
scores`; the plain form may leave out the last of its three inputs, or the last two.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from difflib import get_close_matches
from functools import partial
from inspect import Parameter, Signature, isclass, isroutine, signature, unwrap
from pathlib import Path
from typing import Any, overload

import torch
from torch import Tensor, nn

from pruners.batches import Batch, Loss, ScoringBatches
from pruners.context import seed_layers
from pruners.forward import full_precision
from pruners.masks import apply_masks, prunable
from pruners.probe import Probe, Scores

_FORMS = "(probe, *, …) or (model, batches, loss, *, …)"


class BadFunction(ValueError):
    """A function of one's own that is no criterion; the message names its file and line."""


class Own:
    """A function of one's own, called with a `Probe` as the built-in criteria are.

    The function gets copies of the network and of the batches, and torch's random numbers from the seed of
    the probe. So whatever it changes in them is undone, and equal seeds give equal draws.

    Attributes:
        function: the function itself.
        place: its file, line and name, for messages.
        inputs: names of the parameters that are no options.
        is_plain: whether these are a model, batches and a loss, or the first of them; otherwise a probe.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        """Read the function's parameters.

        Raises:
            BadFunction: the function takes neither a probe nor a model, batches and a loss.
        """
        self.function, self.place = function, place(function)
        try:
            parameters = list(signature(function).parameters.values())
        except (ValueError, TypeError):
            raise BadFunction(f"{self.place}: its parameters cannot be read, expected {_FORMS}") from None
        positional = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        inputs = [each for each in parameters if each.kind in positional and each.default is each.empty]
        is_plain = len(inputs) == 3 or (0 < len(inputs) < 3 and inputs[0].name == "model")
        if not is_plain and len(inputs) != 1:
            names = ", ".join(each.name for each in inputs)
            raise BadFunction(
                f"{self.place}: takes ({names}), expected {_FORMS}: "
                "give every other parameter a default, or put it behind a *"
            )
        self.inputs = tuple(each.name for each in inputs)
        self.is_plain = is_plain
        options = [each for each in parameters if each not in inputs and each.kind != each.VAR_POSITIONAL]
        self._required = [
            each.name for each in options if each.kind == each.KEYWORD_ONLY and each.default is each.empty
        ]
        self.__signature__ = Signature([Parameter("probe", Parameter.POSITIONAL_ONLY), *options])

    def __eq__(self, other: object) -> bool:
        """Whether both are of one function."""
        return isinstance(other, Own) and self.function == other.function

    def __hash__(self) -> int:
        """A number that is equal for equal functions."""
        return hash(self.place)

    def __call__(self, probe: Probe, **options: object) -> Scores:
        """The scores of the function: parameter name → real, finite numbers of the parameter's shape.

        Raises:
            BadFunction: an option without default is missing, the network cannot be copied, or the scores
                are not as they should be.
        """
        if missing := [name for name in self._required if name not in options]:
            raise BadFunction(f"{self.place}: parameter {missing[0]} has no default: give {missing[0]}=VALUE")
        try:
            apart = probe if isinstance(probe, _Apart) else _Apart(probe)
        except (RuntimeError, TypeError) as error:
            raise BadFunction(f"{self.place}: the network cannot be copied for it: {error}") from error
        apart.seed()
        inputs = apart.plain()[: len(self.inputs)] if self.is_plain else (apart,)
        scores = self.function(*inputs, **options)
        return _checked(scores, probe.dense, apart.network, self.place)


class _Apart(Probe):
    """A probe on copies of the network and of the batches of another."""

    def __init__(self, probe: Probe) -> None:
        self.network = deepcopy(probe._model)
        parameters = dict(self.network.named_parameters())
        super().__init__(
            self.network,
            {name: parameters[name] for name in probe.dense},
            probe._masks,
            ScoringBatches(_copies(probe._batches)),
            loss=probe._loss,
            seed=probe._seed,
        )

    def seed(self) -> None:
        """Seed torch's random numbers."""
        seed_layers(self._device, self._seed)

    def plain(self) -> tuple[nn.Module, Sequence[Batch], Loss]:
        """The network with its pruned weights at 0, the batches, and the loss.

        Every prunable weight requires gradients, and no parameter has any.
        """
        for name in self.dense:
            self.network.get_parameter(name).requires_grad_()
        apply_masks(self.network, self._masks or {})
        return self.network, _Batches(self), self._loss


class _Batches(Sequence[Batch]):
    """The batches of a probe, drawn when they are first looked at."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    @overload
    def __getitem__(self, index: int) -> Batch: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Batch]: ...
    def __getitem__(self, index: int | slice) -> Batch | Sequence[Batch]:
        """One batch, or several."""
        return self._probe.batches[index]

    def __len__(self) -> int:
        """The number of batches."""
        return len(self._probe.batches)


def place(function: Callable[..., Any]) -> str:
    """The file, line and name of a function: `myscores.py:12 half_gradient`."""
    while isinstance(function, partial):
        function = function.func
    function = unwrap(function)
    name = name_of(function)
    # A class has its code in `__init__`, and an object that is called has it in its class.
    called = function.__init__ if isclass(function) else type(function).__call__
    code = getattr(function if isroutine(function) else called, "__code__", None)
    if code is None:
        return name
    path = Path(code.co_filename)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}:{code.co_firstlineno} {name}"


def name_of(function: Callable[..., Any]) -> str:
    """The name of a function; of an object that is called, its class's."""
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def _copies(batches: ScoringBatches) -> Iterator[Batch]:
    for inputs, targets in batches.drawn:
        yield inputs.clone(), targets.clone()


def _checked(given: object, weights: Scores, network: nn.Module, at: str) -> Scores:
    """The scores of the weights, without their graph.

    Args:
        at: the place of the function that gives them.

    Raises:
        BadFunction: they are no mapping from the names of all weights, and of no other parameters, to real,
            finite tensors of the weights' shapes on the weights' device.
    """
    if not isinstance(given, Mapping):
        raise BadFunction(f"{at}: gives {_kind(given)}, expected a dict from parameter names to scores")
    if missing := [name for name in weights if name not in given]:
        raise BadFunction(
            f"{at}: gives no scores of {missing[0]}, expected those of all {len(weights)} prunable weights"
        )
    if others := [name for name in given if name not in weights]:
        # Scores of weights that are excluded from pruning are not needed, and do no harm.
        with suppress(ValueError):
            excluded = prunable(network)
            others = [name for name in others if name not in excluded]
    if others:
        near = get_close_matches(str(others[0]), weights, n=1, cutoff=0.0)
        raise BadFunction(
            f"{at}: gives scores of {others[0]}, expected those of prunable weights alone, such as {near[0]}"
        )
    return {name: _checked_scores(given[name], weight, f"{at}: ", name) for name, weight in weights.items()}


def _checked_scores(scores: object, weight: Tensor, at: str, name: str) -> Tensor:
    """The scores of one weight, in float32 or higher precision."""
    if not isinstance(scores, Tensor):
        raise BadFunction(f"{at}scores of {name} are {_kind(scores)}, expected a tensor")
    if scores.shape != weight.shape:
        raise BadFunction(
            f"{at}scores of {name} have shape {tuple(scores.shape)}, expected {tuple(weight.shape)}"
        )
    if scores.device != weight.device:
        raise BadFunction(f"{at}scores of {name} are on {scores.device}, expected {weight.device}")
    if not scores.is_floating_point() or scores.layout != torch.strided:
        odd: object = scores.dtype if scores.layout == torch.strided else scores.layout
        kind = str(odd).removeprefix("torch.")
        raise BadFunction(f"{at}scores of {name} are {kind}, expected dense real numbers, such as float32")
    scores = full_precision(scores.detach())
    if not all(extreme.isfinite() for extreme in scores.aminmax()):
        count = int((~scores.isfinite()).sum())
        raise BadFunction(
            f"{at}{count} of {scores.numel()} scores of {name} are NaN or infinite, expected finite numbers"
        )
    return scores


def _kind(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"
