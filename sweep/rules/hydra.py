"""`hydra`: the masks of a trained network by training scores, then fine-tuning. Sehwag et al. 2020."""

from collections.abc import Iterator

import torch
from torch import Tensor

import pruners
from sweep.config import Config, with_role
from sweep.roles import Role
from sweep.rules.rule import length
from sweep.rules.run import Run
from sweep.rules.trained import Scores, Trained


class Hydra(Trained):
    """Dense to `prune_epoch`; scores train until the share `update_end` of the training; then weights train.

    Scores begin in proportion to |w|. While they train, the weights are frozen.
    """

    name = "hydra"
    last_phase = "retrain"
    longer = "or a later update_end"

    def reads(self, config: Config) -> frozenset[str]:
        """When scores are trained, and what comes after the pruning."""
        return super().reads(config) | {"update_end", *with_role(Role.RETRAINING)}

    def _of_weights(self, config: Config) -> Iterator[tuple[str, str]]:
        """A rewind to an epoch at which scores train."""
        if config.rewind_epoch is not None and config.rewind_epoch > config.prune_epoch:
            yield (
                "rewind_epoch",
                "rewind_epoch lies after prune_epoch: hydra trains scores there",
            )

    def until(self, config: Config, epoch: int) -> int:
        """The step at which the masks are final and the weights go on."""
        return round(config.update_end * length(config, epoch))

    def steps(self, config: Config, epoch: int) -> int:
        """Steps of all training, those that a rewind repeats included."""
        end, until = length(config, epoch), self.until(config, epoch)
        if config.retrain_epochs is not None:
            return until + round(config.retrain_epochs * epoch)
        return end + (0 if config.rewind_epoch is None else until - round(config.rewind_epoch * epoch))

    def first_scores(self, weight: Tensor, draws: torch.Generator) -> Tensor:
        """w times √(6/n) / max |w|, n the fan-in."""
        largest = weight.abs().max().clamp_min(torch.finfo(weight.dtype).tiny)
        bound: float = (6 / weight[0].numel()) ** 0.5
        return weight / largest * bound

    def run(self, run: Run) -> None:
        """Train, train the masks, prune, train again."""
        config = run.config
        run.dense(run.steps_of(config.prune_epoch))
        scores = Scores(self, run)
        run.train("sparse", round(config.update_end * run.end), scores)
        run.prune(pruners.Step({name: score.detach() for name, score in scores.scores.items()}, scores.masks))
        run.resume(reinit=config.ablation == "reinit")
        run.train("retrain", run.end)


HYDRA = Hydra()
