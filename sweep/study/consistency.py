"""Which fields of a config do not go together."""

import math
from collections.abc import Iterator

import pruners
from sweep.errors import BadInput
from sweep.study.config import ALONG, DENSE, RULES, Config


class Inconsistent(BadInput):
    """Fields of a config that do not go together.

    Attributes:
        field: the one to put right.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def check(config: Config) -> None:
    """See that the fields of a config go together.

    Raises:
        Inconsistent: they do not.
    """
    for field, message in _inconsistencies(config):
        raise Inconsistent(field, message)


def _inconsistencies(config: Config) -> Iterator[tuple[str, str]]:
    """The fields that do not go with the others, each with one line why."""
    criterion, rewind = config.criterion, config.rewind_epoch
    if config.epochs is None and config.steps is None:
        yield "epochs", "epochs or steps is missing: give one"
    if config.epochs is not None and config.steps is not None:
        yield "steps", "give epochs or steps, not both"
    # How long steps are the data say.
    if config.epochs is not None and config.prune_epoch > config.epochs:
        yield (
            "prune_epoch",
            f"prune_epoch {config.prune_epoch:g} is beyond the {config.epochs:g} epochs of training",
        )
    if config.nesterov and not config.momentum:
        yield "nesterov", "nesterov needs a momentum above 0"
    if criterion == DENSE and config.sparsity > 0:
        yield "criterion", "criterion dense prunes nothing: give it sparsity 0"
    if rewind is not None:
        last = config.prune_epoch
        if criterion == "imp":
            last = math.inf if config.epochs is None else config.epochs
        if rewind > last:
            yield "rewind_epoch", "rewind_epoch lies after the pruning: there is nothing yet to go back to"
        if config.retrain_epochs is not None:
            yield (
                "retrain_epochs",
                "retrain_epochs and rewind_epoch: after a rewind training goes to the end of epochs; "
                "give one",
            )
        if criterion in ALONG:
            yield "rewind_epoch", f"{criterion} prunes along training: there is nothing to rewind"
    if config.retrain_lr is not None and config.retrain_epochs is None:
        yield "retrain_lr", "retrain_lr needs retrain_epochs: how long to retrain"
    if config.precision == "bf16" and config.model.startswith(("lstm", "gru")):
        yield (
            "precision",
            f"precision bf16: {config.model} would be computed in float16 on a GPU: leave it out",
        )
    if criterion in RULES:
        yield from _inconsistencies_of_rules(config)
    if config.ablation == "shuffle" and config.structure == "filter":
        yield "ablation", "ablation shuffle permutes single weights: leave out structure"
    if config.structure == "filter" and config.scope not in ("global", "uniform"):
        yield "scope", f"scope {config.scope} with structure filter: take global or uniform"
    if config.scope == "rowwise" and config.min_per_layer > 0:
        yield "min_per_layer", "min_per_layer does not go with scope rowwise: every row keeps as many"
    if config.iterations > 1 and criterion not in ("imp", DENSE):
        one_shot = criterion in RULES
        if not one_shot:
            known = pruners.find(criterion)
            one_shot = known.iterations == 1 and not known.static
        if one_shot:
            iterative = ", ".join(name for name in pruners.names() if pruners.find(name).iterations > 1)
            yield (
                "iterations",
                f"iterations {config.iterations}: {criterion} is one-shot; "
                f"put iterations in a block with one of {iterative}, imp",
            )


def _inconsistencies_of_rules(config: Config) -> Iterator[tuple[str, str]]:
    """Those of criteria that are not scores."""
    criterion, ablation = config.criterion, config.ablation
    if ablation == "invert":
        yield (
            "ablation",
            f"ablation invert: {criterion} ranks by no score of one moment; take another ablation",
        )
    if criterion in ("imp", *ALONG):
        if config.structure == "filter" or config.retrain_epochs is not None or config.retrain != "all":
            yield (
                "criterion",
                f"{criterion} prunes single weights and trains them all: leave out structure and retrain",
            )
        if ablation == "shuffle" or (ablation != "none" and criterion in ALONG):
            yield "ablation", f"ablation {ablation} does not apply to {criterion}, whose masks change"
    if criterion in ("set", "rigl") and config.prune_epoch > 0:
        yield "prune_epoch", f"{criterion} is sparse from the start: leave out prune_epoch"
    if criterion == "oracle":
        if config.min_per_layer > 0:
            yield (
                "min_per_layer",
                "min_per_layer does not apply to oracle, which keeps as many of each layer as the "
                "sparsity says",
            )
        if config.structure != "filter":
            yield "criterion", "oracle removes filters: give it structure: filter"
