"""What the rules have in common whose masks change while the network trains."""

import math
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import cache
from typing import Any

import torch
from torch import Tensor

import pruners
from pruners.masks import total_kept
from sweep import parts
from sweep.config import Config
from sweep.errors import BadInput
from sweep.parts import Arguments
from sweep.rules import by_adapters
from sweep.rules.asked_scopes import AskedScope
from sweep.rules.choices import Choices
from sweep.rules.drops import Drop, Scores
from sweep.rules.growths import Growth
from sweep.rules.paths import PATHS, Levels, Moment, stairs
from sweep.rules.rule import (
    BATCHES,
    Rule,
    length,
    ranks_units,
    removes_units,
    sparse_start,
    starts_alike,
)
from sweep.rules.run import LowRank, Run
from sweep.seeds import derive


class Along(Rule):
    """A rule that updates masks every `update_every` steps until the share `update_end` of the training.

    A rule is a path of the density, a drop and a growth. Every update keeps the weights that the drop scores
    highest, down to the lower density of the path, and lets weights grow up to the higher one. On paths that
    exchange, each layer also drops a share of its weights and grows as many; the share falls from
    `drop_fraction` to 0 (Evci et al. 2020).
    """

    last_phase = "sparse"
    options: type[Choices] = Choices

    def choices(self, config: Config) -> Choices:
        """The path, the drop and the growth of a config."""
        return _chosen(self, config.arguments("criterion"))

    def reads(self, config: Config) -> frozenset[str]:
        """The fields of masks, and of the updates that the rule makes."""
        choices = self.choices(config)
        fields = {"scope", "densities", "layers", "min_per_layer", "structure", "update_every", "update_end"}
        if choices.thins:
            fields |= {"prune_epoch"}
        if choices.thins and not choices.alternates:
            fields |= sparse_start(config)
        if choices.exchanges:
            fields |= {"drop_fraction"}
        if choices.draws:
            fields |= {"mask_seed"}
        if ranks_units(config, choices.drops_by_draws):
            fields |= {"unit_score"}
        if choices.criterion:
            fields |= {"score_mode"}
        if choices.criterion and choices.criterion.needs_data:
            fields |= BATCHES
        if by_adapters.adapts(config, choices):
            fields |= by_adapters.FIELDS
        if config.scope in pruners.BUDGETS:
            fields |= BATCHES | {"mask_seed"}
        return frozenset(fields)

    def inconsistencies(self, config: Config) -> Iterator[tuple[str, str]]:
        """Units that grow, what comes after a pruning, a prune epoch of a sparse start, choices."""
        choices = self.choices(config)
        for problem in choices.problems(self.options()):
            yield "criterion", f"{self.name}: criterion.{problem}"
        if config.rewind_epoch is not None:
            yield "rewind_epoch", f"{self.name} prunes along training: there is nothing to rewind"
        yield from super().inconsistencies(config)
        yield from by_adapters.inconsistencies(config, choices)
        if removes_units(config) and choices.grow != "none":
            yield (
                "structure",
                f"structure {config.structure}: {self.name} grows single weights, as the weights of a unit "
                "that comes back at 0 have no gradient: take a rule without growth, such as gmp",
            )
        if config.ablation != "none":
            yield "ablation", f"ablation {config.ablation} does not apply to {self.name}, whose masks change"
        if choices.exchanges and config.scope in pruners.PATTERNS:
            yield (
                "scope",
                f"scope {config.scope}: {self.name} grows weights outside of any pattern: take another",
            )
        if not choices.thins and config.prune_epoch > 0:
            yield "prune_epoch", f"{self.name} is sparse from the start: leave out prune_epoch"
        yield from starts_alike(config)

    def asks(self, config: Config) -> bool:
        """Whether whole units go for good: no scope then asks for weights that are gone."""
        return removes_units(config) and self.choices(config).grow == "none"

    def dense_until(self, config: Config) -> float:
        """The start: the masks are on from then on; the prune epoch where adapters train after it."""
        adapts = by_adapters.adapts(config, self.choices(config))
        return super().dense_until(config) if adapts else 0

    def steps(self, config: Config, epoch: int) -> int:
        """Steps of all training."""
        return length(config, epoch)

    def check_steps(self, config: Config, epoch: Callable[[], int]) -> None:
        """See that there is time for an update."""
        steps = epoch()
        self.updates(config, round(config.prune_epoch * steps), length(config, steps))

    def updates(self, config: Config, pruned: int, end: int) -> tuple[int, int]:
        """The step from which updates count, and the last one.

        The last one is a whole number of intervals after the first, within the part with updates. Updates in
        turns begin at the first step with a drop, and end with a drop.

        Args:
            pruned: step of the prune epoch.
            end: last step of training.

        Raises:
            BadInput: there is none.
        """
        turns = 2 if self.choices(config).alternates else 1
        # Updates in turns need weights that are trained: without dense epochs the first phase is dense.
        first = pruned or (config.update_every if turns == 2 else 0)
        last = min(config.update_end * end, end - 1)
        rounds = math.floor((last - first) / config.update_every)
        rounds -= rounds % turns
        if rounds < 1:
            updates = "two updates, back and forth" if turns == 2 else "updates"
            raise BadInput(
                f"update_every {config.update_every}: {self.name} has only "
                f"{max(0, math.floor(last - first))} of {end} steps for {updates}; take fewer"
            )
        return first, first + rounds * config.update_every

    def run(self, run: Run) -> None:
        """Train, with updates of the masks on the way."""
        adapters = None
        if by_adapters.adapts(run.config, self.choices(run.config)):
            run.dense(run.steps_of(run.config.prune_epoch))
            adapters = run.resume(reinit=False)
        updates = Updates(self, run, adapters)
        run.train("sparse", run.end, updates)
        run.record(updates.masks)


@cache
def _chosen(rule: Along, arguments: Arguments) -> Choices:
    chosen: Choices = parts.bind(rule.options, arguments)()
    return chosen


class Updates:
    """The masks of one training, and their updates.

    Where the density is constant, an update stands in for training. Grown weights start at 0. The last update
    is at the planned density exactly.
    """

    def __init__(self, rule: Along, run: Run, adapters: LowRank | None = None) -> None:
        self.run, self.config, self._choices = run, run.config, rule.choices(run.config)
        self._scope = AskedScope(run)
        # Units of a structure, or single weights.
        self._total = sum(group.size for group in run.units) or run.total
        pruned = run.steps_of(run.config.prune_epoch) if self._choices.thins else 0
        self._first, self._last = rule.updates(run.config, pruned, run.end)
        self._drop, self._growth = Drop(self._choices, run, adapters), Growth(self._choices, run)
        if self._choices.thins:
            self.masks = run.start or run.full_masks()
        else:
            self.masks = self._select("random", self._levels(self._first).high)
        self._growth.explore(self.masks)
        self._put_on()

    def __call__(self, step: int) -> bool:
        """Update the masks if a step is one for that; True if the update stands in for training.

        The gradients of the step are those of all weights, pruned ones included.
        """
        self._growth.watch()
        self._drop.watch(self.masks)
        begins = self._first if self._choices.alternates else self._first + 1
        if not begins <= step <= self._last or (step - self._first) % self.config.update_every:
            return False
        self._update(step)
        return self._choices.path == "constant" and step < self._last

    def state_dict(self) -> dict[str, Any]:
        """All that later updates depend on."""
        drop, growth = self._drop.state_dict(), self._growth.state_dict()
        scope = self._scope.state_dict()
        return {"masks": dict(self.masks), "drop": drop, "growth": growth, "scope": scope}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        device = next(self.run.model.parameters()).device
        self.masks = {name: mask.to(device) for name, mask in state["masks"].items()}
        self._drop.load_state_dict(state["drop"])
        self._growth.load_state_dict(state["growth"])
        self._scope.load_state_dict(state["scope"])

    def _levels(self, step: int) -> Levels:
        """The densities of the update at a step."""
        done = Fraction(step - self._first, self._last - self._first)
        number = (step - self._first) // self.config.update_every
        moment = Moment(number, done, Fraction(step, self.run.end))
        start, end = (1 - Fraction(str(s)) for s in (self.config.initial_sparsity, self.config.sparsity))
        return PATHS[self._choices.path](moment, start, end, self._choices)

    def _count(self, density: Fraction) -> int:
        return pruners.kept_count(self._total, 1 - density)

    @property
    def _kept(self) -> int:
        """How many weights, or units, the masks keep."""
        if not self.run.units:
            return total_kept(self.masks.values())
        return total_kept(pruners.kept_units(self.run.units, self.masks).values())

    def _put_on(self) -> None:
        """Put the masks on, and with them those of biases, scales and shifts of removed units."""
        units = self.run.units
        others = pruners.other_masks(self.run.model, units, self.masks) if units else {}
        self.run.mask(self.masks | others)

    def _share(self, step: int) -> float:
        """The share of its weights that each layer exchanges at a step."""
        if not self._choices.exchanges or step == self._last:
            return 0.0
        if self._choices.fall == "stairs":
            done = Fraction(step - self._first, self._last - self._first)
            return self.config.drop_fraction * float(stairs(done))
        return self.config.drop_fraction * (1 + math.cos(math.pi * step / self._last)) / 2

    def _select(self, criterion: str, density: Fraction, scores: Scores | None = None) -> pruners.Masks:
        """The masks of a density by the scores of a criterion, or by given ones, as the scope says.

        Removed units stay removed. A layer may gain weights, where the rounding of a scope says so.
        """
        steps = pruners.trajectory(
            criterion,
            self.run.model,
            sparsity=1 - density,
            scope=self._scope.at(1 - density),
            iterations=1,
            seed=derive(self.config.roots.mask, "mask"),
            exclude=self.run.exclude,
            min_per_layer=self.config.min_per_layer,
            structure=self.config.structure,
            unit_score=self.config.unit_score,
            units=self.run.units,
            first=scores,
            start=self.masks if self.run.units else None,
        )
        return next(steps).masks

    def _update(self, step: int) -> None:
        """Drop and grow, and put the new masks on."""
        low, high = self._levels(step)
        share = self._share(step)
        falls = self._choices.path != "constant" and self._count(low) <= self._kept
        scores = self._drop.scores(self.masks, step) if falls or share else {}
        if falls:
            # The name of a criterion of draws says that a unit has one of them, not their sum.
            name = self._choices.drop if self._choices.criterion else "magnitude"
            self.masks = self._select(name, low, scores)
        rises = self._count(high) > self._kept
        if share or rises:
            # First without the dropped weights: a weight that grows has no value and no momentum, even if
            # it was only just dropped.
            stays = self._left(scores, share) if share else self.masks
            self.run.mask(stays)
            self.masks = self._grown(stays, high if rises else None, step)
        self._put_on()
        self._growth.explore(self.masks)

    def _left(self, scores: Scores, share: float) -> pruners.Masks:
        """The masks of the weights that stay where each layer drops a share of its own."""
        left: pruners.Masks = {}
        for name, mask in self.masks.items():
            kept = int(mask.count_nonzero())
            moved = min(int(share * kept), mask.numel() - kept)
            left[name] = _top(scores[name].masked_fill(~mask, -torch.inf), kept - moved)
        return left

    def _grown(self, stays: pruners.Masks, density: Fraction | None, step: int) -> pruners.Masks:
        """The masks of weights that stay, and of those that grow.

        Args:
            density: to which the network grows as the scope says; None: each layer grows as many weights as
                it dropped. Weights that were just dropped may come back, as any pruned weight (RigL).
        """
        scores = self._growth.scores(step)
        if density is not None:
            first = {name: each.masked_fill(stays[name], torch.inf) for name, each in scores.items()}
            return self._select("magnitude", density, first)
        grown: pruners.Masks = {}
        for name, stay in stays.items():
            missing = int(self.masks[name].count_nonzero()) - int(stay.count_nonzero())
            grown[name] = stay | _top(scores[name].masked_fill(stay, -torch.inf), missing)
        return grown


def _top(scores: Tensor, count: int) -> Tensor:
    return pruners.keep_top(scores.flatten(), count).view(scores.shape)
