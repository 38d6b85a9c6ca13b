"""What a rule along training chooses: a path of the density, what an update drops, and what it grows."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Literal

import pruners
from sweep.rules.step_scores import AVERAGED, ESTIMATED, STEP_SCORES

PathName = Literal["constant", "cubic", "linear", "exponential", "cyclic", "square", "soft"]
GrowthName = Literal["none", "random", "gradient", "momentum", "unexplored", "all"]
Fall = Literal["cosine", "stairs"]
# Paths on which the last density is also the first one, but for what `soft` adds.
_SPARSE_FROM_THE_START = frozenset({"constant", "cyclic", "soft"})
# Paths at whose updates every layer drops some weights and grows as many.
_EXCHANGING = frozenset({"constant", "cubic", "linear", "exponential", "cyclic"})


@dataclass(frozen=True)
class Choices:
    """The options of a rule along training; each rule has its own defaults.

    Attributes:
        path: the density by time. `cubic`, `linear`, `exponential`: it falls from the start's density to the
            last one. `cyclic`: waves above the last one. `square`: the last one and a higher one in turns.
            `soft`: an update drops to the last one, and grows to a higher one that falls.
        drop: the saliency by which weights stay: |w|, |w| + λ|g|, |w·g|, the moving average of |w·g| over
            all steps so far (`taylor-average`; `lora-average`, with g as adapters estimate it), |w| by rank
            among the kept weights of one sign of a layer (`signed`), or the name of a criterion of `pruners`.
        grow: which pruned weights come back. `momentum`: by a moving average of the gradient. `unexplored`:
            at random, those first that were never kept. `all`: every pruned weight.
        fall: how the share that each layer exchanges falls from `drop_fraction` to 0: by a cosine, or to a
            half at three quarters of the updates and to 0 at the last one (`stairs`).
        peak: the highest density of a path, as a multiple of the last one; no density is above 1.
        cycles: how many waves `cyclic` has.
        cycle_end: share of the training at which the last wave ends.
        gradient_weight: λ of the drop `magnitude+gradient`.
        average: the share of the moving average that a step leaves.
    """

    path: PathName = "constant"
    drop: str = "magnitude"
    grow: GrowthName = "random"
    fall: Fall = "cosine"
    peak: float = 3.0
    cycles: int = 2
    cycle_end: float = 0.4
    gradient_weight: float = 0.0
    average: float = 0.9

    @property
    def thins(self) -> bool:
        """Whether the first masks keep more weights than the last ones: all, or those of a sparse start."""
        return self.path not in _SPARSE_FROM_THE_START

    @property
    def alternates(self) -> bool:
        """Whether updates drop and grow in turns."""
        return self.path == "square"

    @property
    def exchanges(self) -> bool:
        """Whether every layer drops a share of its weights at an update, and grows as many."""
        return self.path in _EXCHANGING and self.grow != "none"

    @property
    def criterion(self) -> pruners.Criterion | None:
        """The criterion of `pruners` that drops; None: a score of the training step does."""
        return None if self.drop in STEP_SCORES else pruners.find(self.drop)

    @property
    def averages_drop(self) -> bool:
        """Whether the scores of the drop are a moving average over steps."""
        return self.drop in AVERAGED

    @property
    def estimates_drop(self) -> bool:
        """Whether the scores of the drop take gradients that adapters estimate."""
        return self.drop in ESTIMATED

    @property
    def drops_by_draws(self) -> bool:
        """Whether the scores of the drop are independent draws."""
        return self.criterion is not None and self.criterion.draws

    @property
    def draws(self) -> bool:
        """Whether masks depend on random draws beside those of a sparse start."""
        return not self.thins or self.grow in ("random", "unexplored") or self.criterion is not None

    def problems(self, defaults: "Choices") -> Iterator[str]:
        """What does not go together, each in one line.

        Args:
            defaults: what the rule chooses where a study does not.
        """
        if self.drop not in STEP_SCORES and self.drop not in pruners.names():
            known = [*STEP_SCORES, *pruners.names()]
            near = get_close_matches(self.drop, known, n=1, cutoff=0.5)
            yield f"drop {self.drop}: no such saliency; " + (
                f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            )
        limits = (
            ("peak", 1 < self.peak < math.inf, "a number above 1"),
            ("cycles", self.cycles >= 1, "a whole number from 1"),
            ("cycle_end", 0 < self.cycle_end <= 1, "a share above 0, up to 1"),
            ("gradient_weight", 0 <= self.gradient_weight < math.inf, "a number from 0"),
            ("average", 0 <= self.average < 1, "a share from 0, below 1"),
        )
        yield from (
            f"{name} {getattr(self, name):g}: give {what}" for name, is_good, what in limits if not is_good
        )
        yield from self._unfit()
        for field in fields(self):
            changed = getattr(self, field.name) != getattr(defaults, field.name)
            if changed and not self._reads(field.name):
                others = f"path {self.path}, drop {self.drop} and grow {self.grow}"
                yield f"{field.name}: {others} do not read it: leave it out"

    def _unfit(self) -> Iterator[str]:
        """A path and a growth that do not go together."""
        if self.grow == "all" and self.path != "square":
            yield f"grow all: path {self.path} keeps pruned weights out: take path square, or another growth"
        if self.grow == "none" and self.path == "constant":
            yield "grow none: on path constant no mask changes: take criterion random, or another path"
        elif self.grow == "none" and (not self.thins or self.alternates):
            yield f"grow none: path {self.path} rises: take another growth, such as gradient"

    def _reads(self, name: str) -> bool:
        """Whether an option matters to the others."""
        readers = {
            "fall": self.exchanges,
            "peak": self.path in ("cyclic", "soft") or (self.path == "square" and self.grow != "all"),
            "cycles": self.path == "cyclic",
            "cycle_end": self.path == "cyclic",
            "gradient_weight": self.drop == "magnitude+gradient",
            "average": self.grow == "momentum" or self.averages_drop,
        }
        return readers.get(name, True)
