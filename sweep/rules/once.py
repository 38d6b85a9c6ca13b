"""A criterion of `pruners` scores the network once, at the prune epoch; the plain rule."""

from collections.abc import Iterator
from functools import lru_cache

from torch import nn

import pruners
from sweep import parts
from sweep.config import AFTER_DENSE, Config
from sweep.errors import BadInput
from sweep.rules import spread
from sweep.rules.at_once import AtOnce, of_compensation
from sweep.rules.moments import MOMENTS
from sweep.rules.rule import BATCHES, ranks_units, sparse_start
from sweep.rules.run import Run

# Fields of masks that come from no scores.
_OF_OTHER_RULES = frozenset(
    {"combination", "update_every", "update_end", "drop_fraction", "second", "second_share"}
)


def criterion(name: str) -> pruners.Criterion:
    """The criterion of a name: one of `pruners`, or a part, whose code the first score imports."""
    if not parts.is_name(name):
        return pruners.find(name)
    part = parts.need(name)
    return parts.made(pruners.Criterion, part, part.label, part)


class Once(AtOnce):
    """Masks by the scores of one criterion, in as many iterations as the config says, without training."""

    scores = True
    counts_effective = True

    def reads(self, config: Config) -> frozenset[str]:
        """All fields of pruning, less those that the criterion does not look at."""
        ranked = ranks_units(config, criterion(config.criterion).draws)
        read = _reads(config.criterion, config.iterations == 1, ranked) | sparse_start(config)
        read |= of_compensation(config)
        if config.scope in pruners.BUDGETS:
            read |= BATCHES  # the scope looks at data, whatever the criterion does
        return read if config.prune_when else read - {"prune_threshold"}

    def inconsistencies(self, config: Config) -> Iterator[tuple[str, str]]:
        """An order of layers where units are ranked, or paths through all of them."""
        for field, plain in (("structure", "weight"), ("target", "kept")):
            if config.score_order != "whole" and getattr(config, field) != plain:
                yield field, f"{field} with score_order {config.score_order}: leave one out"

    def takes_iterations(self, config: Config) -> bool:
        """Whether the criterion is iterative, or gives the same masks in any number of iterations."""
        known = criterion(config.criterion)
        return known.iterations > 1 or known.static

    def iterations(self, config: Config) -> int:
        """The criterion's own number."""
        return criterion(config.criterion).iterations

    def scored_images(self, config: Config) -> int:
        """The images of all scoring batches; none where neither criterion nor scope looks at data."""
        compensating = super().scored_images(config)
        if not criterion(config.criterion).needs_data and config.scope not in pruners.BUDGETS:
            return compensating
        watched = config.prune_when and MOMENTS[config.prune_when].of_masks
        times = 1 + int(config.prune_epoch) if watched else 1
        return compensating + times * config.iterations * config.score_batches * config.score_batch_size

    def check(self, config: Config, model: nn.Module, exclude: list[str], units: pruners.Units) -> None:
        """See that there are masks, and that they can be chosen in the order of the config."""
        super().check(config, model, exclude, units)
        if config.score_order != "whole":
            try:
                spread.drawn(config, model, exclude, units)
            except ValueError as error:
                raise BadInput(f"{config.model}: {error}") from None

    def choose(self, run: Run) -> pruners.Step:
        """The masks by the criterion's scores."""
        return run.score()


@lru_cache(maxsize=1024)
def _reads(name: str, one_iteration: bool, ranks_units: bool) -> frozenset[str]:
    known = criterion(name)
    fields = {*AFTER_DENSE} - _OF_OTHER_RULES - {"initial_scope"}
    if not ranks_units:
        fields -= {"unit_score"}
    if not known.needs_data:
        fields -= {*BATCHES, "score_order"}
    if known.static:
        # The ranking is the same at every mask: one iteration gives the masks of many.
        fields -= {"iterations"}
    if known.static or one_iteration:
        fields -= {"schedule"}
    return frozenset(fields)


ONCE = Once()
