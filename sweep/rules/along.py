"""What the rules have in common whose masks change while the network trains."""

import math
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

import pruners
from sweep.config import Config
from sweep.errors import BadInput
from sweep.rules.rule import Rule, Run, length, single_weights_alone
from sweep.seeds import derive

# Scores by which pruned weights grow back: of a weight with its gradient, and a generator to draw from.
Growth = Callable[[Tensor, torch.Generator], Tensor]


class Along(Rule):
    """A rule that updates masks every `update_every` steps until the share `update_end` of the training.

    Attributes:
        thins: whether masks start dense and thin out by magnitude on the cubic schedule from `prune_epoch`
            on (Zhu & Gupta 2017); else they are random and as sparse as in the end from the start.
        growth: how each layer regrows as many weights as it drops; None: it drops none. The share that is
            dropped, the smallest weights, falls from `drop_fraction` to 0 by a cosine (Evci et al. 2020).
    """

    last_phase = "sparse"
    thins = False
    growth: Growth | None = None

    def reads(self, config: Config) -> frozenset[str]:
        """The fields of masks, and of the updates that the rule makes."""
        fields = {"scope", "densities", "layers", "min_per_layer", "update_every", "update_end"}
        fields |= {"prune_epoch"} if self.thins else {"mask_seed"}
        return frozenset(fields | ({"drop_fraction"} if self.growth else set()))

    def inconsistencies(self, config: Config) -> Iterator[tuple[str, str]]:
        """Filters, what comes after a pruning, and a prune epoch of what is sparse from the start."""
        if config.rewind_epoch is not None:
            yield "rewind_epoch", f"{self.name} prunes along training: there is nothing to rewind"
        yield from super().inconsistencies(config)
        yield from single_weights_alone(config)
        if config.ablation != "none":
            yield "ablation", f"ablation {config.ablation} does not apply to {self.name}, whose masks change"
        if self.growth and config.scope in pruners.PATTERNS:
            yield (
                "scope",
                f"scope {config.scope}: {self.name} grows weights outside of any pattern: take another",
            )
        if not self.thins and config.prune_epoch > 0:
            yield "prune_epoch", f"{self.name} is sparse from the start: leave out prune_epoch"

    def dense_until(self, config: Config) -> float:
        """The start: the masks are on from then on."""
        return 0

    def steps(self, config: Config, epoch: int) -> int:
        """Steps of all training."""
        return length(config, epoch)

    def check_steps(self, config: Config, epoch: Callable[[], int]) -> None:
        """See that there is time for an update."""
        steps = epoch()
        self.last_update(config, round(config.prune_epoch * steps), length(config, steps))

    def last_update(self, config: Config, first: int, end: int) -> int:
        """The last step that is a whole number of intervals after the first, within the part with updates.

        Args:
            first: step after which there are updates.
            end: last step of training.

        Raises:
            BadInput: there is none.
        """
        last = min(config.update_end * end, end - 1)
        rounds = math.floor((last - first) / config.update_every)
        if rounds < 1:
            raise BadInput(
                f"update_every {config.update_every}: {self.name} has only "
                f"{max(0, math.floor(last - first))} of {end} steps for updates; take fewer"
            )
        return first + rounds * config.update_every

    def run(self, run: Run) -> None:
        """Train, with updates of the masks on the way."""
        updates = Updates(self, run)
        run.train("sparse", run.end, updates)
        run.record(updates.masks)


class Updates:
    """The masks of one training, and their updates.

    A step at which masks change by dropping and growing trains nothing. Grown weights start at 0. The last
    update of a rule that thins out is at the planned density exactly.
    """

    def __init__(self, rule: Along, run: Run) -> None:
        self.rule, self.run, self.config = rule, run, run.config
        self._first = run.steps_of(run.config.prune_epoch) if rule.thins else 0
        self._last = rule.last_update(run.config, self._first, run.end)
        self.masks = run.full_masks() if rule.thins else self._pruned("random", run.config.sparsity)
        run.mask(self.masks)

    def _pruned(self, criterion: str, sparsity: float | Fraction) -> pruners.Masks:
        return pruners.prune(
            criterion,
            self.run.model,
            sparsity=sparsity,
            scope=self.run.scope,
            seed=derive(self.config.roots.mask, "mask"),
            exclude=self.run.exclude,
            min_per_layer=self.config.min_per_layer,
        )

    def __call__(self, step: int) -> bool:
        """Update the masks if a step is one for that; True if the update stands in for training.

        The gradients of the step are those of all weights, pruned ones included.
        """
        if not self._first < step <= self._last or (step - self._first) % self.config.update_every:
            return False
        if self.rule.thins:
            self.masks = self._pruned("magnitude", self._sparsity(step))
        if self.rule.growth and step < self._last:
            # First without the dropped weights: a weight that grows has no value and no momentum, even if
            # it was only just dropped.
            self.run.mask(self._regrow(self.rule.growth, step))
        self.run.mask(self.masks)
        return not self.rule.thins and step < self._last

    def state_dict(self) -> dict[str, Any]:
        """The masks: all that later updates depend on."""
        return {"masks": dict(self.masks)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the masks of a state."""
        device = next(self.run.model.parameters()).device
        self.masks = {name: mask.to(device) for name, mask in state["masks"].items()}

    def _sparsity(self, step: int) -> Fraction:
        done = Fraction(step - self._first, self._last - self._first)
        return Fraction(str(self.config.sparsity)) * (1 - (1 - done) ** 3)

    @torch.no_grad()
    def _regrow(self, growth: Growth, step: int) -> pruners.Masks:
        """Drop and grow in each layer; the masks of the weights that stay."""
        stays: pruners.Masks = {}
        share = self.config.drop_fraction * (1 + math.cos(math.pi * step / self._last)) / 2
        draws = torch.Generator().manual_seed(derive(self.config.roots.mask, "grow", step))
        for name, weight in pruners.prunable(self.run.model, self.run.exclude).items():
            mask = self.masks[name]
            kept = int(mask.count_nonzero())
            moved = min(int(share * kept), mask.numel() - kept)
            stay = _top(weight.abs().masked_fill(~mask, -1), kept - moved)
            score = growth(weight, draws)
            # Weights that were just dropped may come back, as any other pruned weight (RigL).
            grown = _top(score.masked_fill(stay, -torch.inf), moved)
            self.masks[name], stays[name] = stay | grown, stay
        return stays


def _top(scores: Tensor, count: int) -> Tensor:
    return pruners.keep_top(scores.flatten(), count).view(scores.shape)


def by_gradient(weight: Tensor, draws: torch.Generator) -> Tensor:
    """The magnitude of the gradient."""
    return torch.zeros_like(weight) if weight.grad is None else weight.grad.abs()


def at_random(weight: Tensor, draws: torch.Generator) -> Tensor:
    """A uniform draw."""
    return torch.rand(weight.shape, generator=draws).to(weight.device)
