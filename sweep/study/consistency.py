"""Which fields of a config do not go together."""

from collections.abc import Iterator

import pruners
from sweep import rules
from sweep.config import Config
from sweep.errors import BadInput


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
    rule = rules.find(config.criterion)
    for complaints in (_of_length, _of_training, rule.inconsistencies, _of_retraining, _of_masks):
        for field, message in complaints(config):
            raise Inconsistent(field, message)


def _of_length(config: Config) -> Iterator[tuple[str, str]]:
    if config.epochs is None and config.steps is None:
        yield "epochs", "epochs or steps is missing: give one"
    if config.epochs is not None and config.steps is not None:
        yield "steps", "give epochs or steps, not both"
    # The length of `steps` in epochs is known once the data are.
    if config.epochs is not None and config.prune_epoch > config.epochs:
        yield (
            "prune_epoch",
            f"prune_epoch {config.prune_epoch:g} is beyond the {config.epochs:g} epochs of training",
        )


def _of_retraining(config: Config) -> Iterator[tuple[str, str]]:
    if config.rewind_epoch is not None:
        if config.rewind_epoch > rules.find(config.criterion).last_prune(config):
            yield "rewind_epoch", "rewind_epoch lies after the pruning: there is nothing yet to go back to"
        if config.retrain_epochs is not None:
            yield (
                "retrain_epochs",
                "retrain_epochs and rewind_epoch: after a rewind training goes to the end of epochs; "
                "give one",
            )
    if config.retrain_lr is not None and config.retrain_epochs is None:
        yield "retrain_lr", "retrain_lr needs retrain_epochs: how long to retrain"


def _of_training(config: Config) -> Iterator[tuple[str, str]]:
    if config.nesterov and not config.momentum:
        yield "nesterov", "nesterov needs a momentum above 0"
    if config.precision == "bf16" and config.model.startswith(("lstm", "gru")):
        yield (
            "precision",
            f"precision bf16: {config.model} would be computed in float16 on a GPU: leave it out",
        )


def _of_masks(config: Config) -> Iterator[tuple[str, str]]:
    if config.ablation == "shuffle" and config.structure == "filter":
        yield "ablation", "ablation shuffle permutes single weights: leave out structure"
    if config.structure == "filter" and config.scope not in ("global", "uniform"):
        yield "scope", f"scope {config.scope} with structure filter: take global or uniform"
    if config.scope == "rowwise" and config.min_per_layer > 0:
        yield "min_per_layer", "min_per_layer does not go with scope rowwise: every row keeps as many"
    if config.iterations > 1 and not rules.find(config.criterion).takes_iterations(config):
        criteria = [name for name in pruners.names() if pruners.find(name).iterations > 1]
        iterative = [*criteria, *(rule.name for rule in rules.RULES.values() if rule.iterative)]
        yield (
            "iterations",
            f"iterations {config.iterations}: {config.criterion} is one-shot; "
            f"put iterations in a block with one of {', '.join(iterative)}",
        )
