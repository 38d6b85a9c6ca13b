"""A rule of one's own: a function that a study names."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

import torch

import pruners
from sweep import parts
from sweep.config import AFTER_DENSE, Config
from sweep.parts import BadPart, Part
from sweep.parts.guard import kind
from sweep.rules.rule import Rule, length
from sweep.rules.run import Between, Run

# The fields that matter to every rule.
_ALWAYS = {"criterion", "sparsity"}


class Own(Rule):
    """Trains and prunes as a function of the moves of `Run` does. It shares no state with other trials."""

    forgets = False  # nobody knows what its code keeps

    def __init__(self, part: Part) -> None:
        said = part.option("reads")
        self._part = part
        self.name = part.name
        self._reads = frozenset(AFTER_DENSE if said is None else said) - _ALWAYS
        self.last_phase = part.option("phase", "retrain")

    def reads(self, config: Config) -> frozenset[str]:
        """The fields that its decorator says; by default all fields of pruning."""
        return self._reads if config.initial_sparsity else self._reads - {"initial_scope"}

    def dense_until(self, config: Config) -> float:
        """The start: nobody knows when it prunes first."""
        return 0

    def steps(self, config: Config, epoch: int) -> int:
        """Steps of all training."""
        return length(config, epoch)

    def run(self, run: Run) -> None:
        """Train and prune.

        Raises:
            BadPart: a move is impossible, or the weights that are kept are not as many as the trial's
                sparsity says, while the rule's decorator does not say `exact=False`.
        """
        moves = _Moves(run, self._part)
        function: Callable[..., Any] = parts.bind(self._part, run.config.arguments("criterion"))
        function(moves)
        moves.check_end()


class _Moves:
    """The moves of a run, each checked before it is made."""

    def __init__(self, run: Run, part: Part) -> None:
        self._run, self._part = run, part
        self._recorded: int | None = None
        self._kept: int | None = None
        self._masks: pruners.Masks = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not (hasattr(Run, name) or name in Run.__annotations__):
            near = get_close_matches(name, [*Run.__annotations__, *vars(Run)], n=1, cutoff=0.5)
            hint = f", expected such as {near[0]}" if near else ""
            raise AttributeError(f"run has no move {name}{hint}")
        return getattr(self._run, name)

    def dense(self, until: int) -> None:
        """As `Run.dense`."""
        self._run.dense(self._step(until))

    def train(self, phase: str, until: int, between: Between | None = None) -> None:
        """As `Run.train`."""
        if not isinstance(phase, str) or not phase:
            raise BadPart(self._part, f"trains under the name {phase!r}, expected a text, such as 'retrain'")
        self._run.train(phase, self._step(until), between)

    def score(self) -> pruners.Step:
        """No move of an own rule: the rule itself takes the place of the criterion.

        Raises:
            BadPart: always.
        """
        problem = "calls run.score, which has no criterion to score by"
        expected = 'expected such as next(pruners.trajectory("magnitude", run.model, sparsity=0.9))'
        raise BadPart(self._part, f"{problem}, {expected}")

    def prune(self, chosen: pruners.Step) -> None:
        """As `Run.prune`."""
        if not isinstance(chosen, pruners.Step):
            problem = f"prunes with {kind(chosen)}, expected a pruners.Step (scores, masks)"
            raise BadPart(self._part, problem)
        self._recorded = self._kept = self._count(chosen.masks)
        self._check_weights(chosen.weights)
        self._run.prune(chosen)

    def mask(self, masks: pruners.Masks) -> None:
        """As `Run.mask`."""
        self._kept = self._count(masks)
        self._run.mask(masks)

    def record(self, masks: pruners.Masks) -> None:
        """As `Run.record`."""
        self._recorded = self._count(masks)
        self._run.record(masks)

    def check_end(self) -> None:
        """Check that the last masks are recorded, and keep as many weights as the sparsity says.

        Raises:
            BadPart: they do not.
        """
        run, config = self._run, self._run.config
        if self._recorded is None:
            raise BadPart(self._part, "never prunes, expected a call of run.prune")
        if self._recorded != self._kept:
            problem = f"ends with masks of {self._kept} weights and has recorded {self._recorded}"
            raise BadPart(self._part, f"{problem}, expected run.record of the last masks")
        expected = pruners.kept_count(run.total, config.sparsity)
        # Masks of units keep as many weights as complete units have; counts are rounded in each layer.
        full = run.full_masks().values()
        slack = sum(mask[0].numel() for mask in full) if run.units else len(full)
        exact = abs(self._kept - expected) <= slack or self._has_units
        if self._part.option("exact", True) and not exact:
            raise BadPart(
                self._part,
                f"keeps {self._kept} of {run.total} weights, expected {expected} at sparsity "
                f"{config.sparsity:g}, or @rule(exact=False)",
            )

    @property
    def _has_units(self) -> bool:
        """Whether as many units are kept as the sparsity says, but for one of each group; False: no units."""
        run, groups = self._run, self._run.units
        total = sum(group.size for group in groups)
        kept = sum(int(each.count_nonzero()) for each in pruners.kept_units(groups, self._masks).values())
        expected = pruners.kept_count(total, run.config.sparsity) if groups else 0
        return bool(groups) and abs(kept - expected) <= len(groups)

    def _step(self, until: int) -> int:
        if type(until) is not int or not 0 <= until <= self._run.end:
            problem = f"trains to step {until!r}, expected a whole number up to run.end, {self._run.end}"
            raise BadPart(self._part, problem)
        return until

    def _check_weights(self, weights: object) -> None:
        """Raise `BadPart` if these are no new weights of this network."""
        if not isinstance(weights, Mapping):
            raise BadPart(self._part, f"new weights are {kind(weights)}, expected names with tensors")
        shapes = {name: weight.shape for name, weight in self._run.model.named_parameters()}
        for name, value in weights.items():
            real = isinstance(value, torch.Tensor) and value.is_floating_point()
            if name in shapes and real and value.shape == shapes[name]:
                continue
            numbers = f"a tensor of shape {tuple(shapes[name])} of real numbers" if name in shapes else ""
            what = f"{kind(value)} of {getattr(value, 'dtype', 'no numbers')}"
            raise BadPart(
                self._part, f"new weights of {name} are {what}, expected {numbers or 'a parameter'}"
            )

    def _count(self, masks: pruners.Masks) -> int:
        """The weights that masks keep; `BadPart` if they are no masks of this network."""
        full = self._run.full_masks()
        if not isinstance(masks, Mapping) or masks.keys() != full.keys():
            names = ", ".join(map(str, masks)) if isinstance(masks, Mapping) else kind(masks)
            raise BadPart(self._part, f"masks are of {names or 'nothing'}, expected of {', '.join(full)}")
        for name, mask in full.items():
            given = masks[name]
            if not isinstance(given, torch.Tensor) or (given.shape, given.dtype) != (mask.shape, mask.dtype):
                what = f"{kind(given)} of {getattr(given, 'dtype', 'no numbers')}"
                expected = f"a tensor of shape {tuple(mask.shape)} of torch.bool"
                raise BadPart(self._part, f"the mask of {name} is {what}, expected {expected}")
        self._masks = masks
        return sum(int(mask.count_nonzero()) for mask in masks.values())


@cache
def own(name: str) -> Own:
    """The rule of a part."""
    return Own(parts.need(name))
