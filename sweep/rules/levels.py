"""What the rules have in common that train to the end, prune, rewind, and again: level by level."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

import pruners
from sweep.config import Config, with_role
from sweep.roles import Role
from sweep.rules.rule import Rule, length, retrains_otherwise
from sweep.rules.run import Run


class Levels(Rule):
    """Train to the end, remove weights, rewind, and again, once for each level.

    `iterations` is the number of levels. A subclass says what each level removes.
    """

    iterative = True

    def reads(self, config: Config) -> frozenset[str]:
        """The fields of one level, and how many levels there are."""
        fields = {"iterations", "layers", *with_role(Role.RETRAINING)}
        # To rewind to epoch 0 is the rule.
        return frozenset(fields if config.rewind_epoch else fields - {"rewind_epoch"})

    def inconsistencies(self, config: Config) -> Iterator[tuple[str, str]]:
        """Parameters that are not trained, a schedule of its own, scores of one moment."""
        yield from super().inconsistencies(config)
        if retrains_otherwise(config):
            yield (
                "criterion",
                f"{self.name} trains all weights after each level: leave out retrain, retrain_epochs, "
                "retrain_loss",
            )
        if config.ablation == "shuffle":
            yield (
                "ablation",
                f"ablation {config.ablation} does not apply to {self.name}, whose masks change",
            )

    def last_prune(self, config: Config) -> float:
        """The end of training; infinite where only the data say which epoch that is."""
        return float("inf") if config.epochs is None else config.epochs

    def rewinds_to(self, config: Config) -> float:
        """The epoch that the config says; by default the beginning."""
        return config.rewind_epoch or 0

    def dense_until(self, config: Config) -> float:
        """The end of training: the first level prunes a trained network."""
        return float("inf")

    def leads(self, config: Config) -> bool:
        """Whether the weights after the last level are trained ones: new weights lead nowhere."""
        return config.ablation != "reinit"

    def steps(self, config: Config, epoch: int) -> int:
        """Steps of dense training, and of the training after each level."""
        return length(config, epoch) + config.iterations * self.repeated(config, epoch)

    def repeated(self, config: Config, epoch: int) -> int:
        """Steps of one level: a twin repeats the training after the last."""
        return length(config, epoch) - round((config.rewind_epoch or 0) * epoch)

    def train_level(self, run: Run, chosen: pruners.Step, level: int, last: bool) -> None:
        """Prune, rewind and train to the end.

        Args:
            level: its number, from 1.
            last: whether no level follows.
        """
        run.prune(chosen)
        run.resume(reinit=last and run.config.ablation == "reinit")
        run.train("retrain" if last else f"level {level}", run.end)


def joined(parts: Sequence[Tensor], layers: Mapping[str, Tensor]) -> pruners.Masks:
    """The masks of layers from the entries of all of them in a row.

    Args:
        parts: boolean, of one dimension; together as many as the layers have weights.
        layers: name → tensor of the mask's shape.
    """
    pieces = torch.cat(list(parts)).split([layer.numel() for layer in layers.values()])
    return {
        name: piece.view(layer.shape) for (name, layer), piece in zip(layers.items(), pieces, strict=True)
    }
