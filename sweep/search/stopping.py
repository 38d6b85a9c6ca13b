"""Early stopping of poor trials, judged by Optuna's pruners: pruning, as Optuna has it, is of trials."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, SuccessiveHalvingPruner
from optuna.samplers import RandomSampler

from sweep.study.identity import Trial

PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    # name: of the epochs of retraining before which nothing is stopped
    "median": lambda after: MedianPruner(n_warmup_steps=after),
    "asha": lambda after: SuccessiveHalvingPruner(min_resource=after),
    "hyperband": lambda after: HyperbandPruner(min_resource=after),
}


@dataclass(frozen=True)
class Past:
    """What an earlier trial was like along its retraining.

    Attributes:
        accuracies: on the validation data, after each epoch of retraining.
        whole: it ran to its end.
    """

    trial: Trial
    accuracies: Sequence[float]
    whole: bool


@dataclass(frozen=True)
class Rule:
    """When a trial is stopped early.

    Attributes:
        name: one of `PRUNERS`.
        after: epochs of retraining that each trial has at least.
        seed: of the trials that can be stopped. Other seeds are of what looked good, and are run in full.
        past: trials to compare with from the beginning.
    """

    name: str
    after: int
    seed: int
    past: Sequence[Past] = ()


class Judge:
    """Says which trials are poor, of all that report to it while they are retrained.

    A trial is compared, epoch by epoch of its retraining, with those alone that train as long as it and are
    pruned in the same epoch: what is pruned later has trained longer by then, and would win unfairly.
    """

    def __init__(self, rule: Rule) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._rule = rule
        self._studies: dict[str, optuna.Study] = {}
        self._trials: dict[str, optuna.Trial] = {}
        self._said: dict[tuple[str, int], bool] = {}
        for past in rule.past:
            for epoch, accuracy in enumerate(past.accuracies, 1):
                self.poor(past.trial, epoch, accuracy, past.whole and epoch == len(past.accuracies))

    def poor(self, trial: Trial, epoch: int, accuracy: float, last: bool) -> bool:
        """Whether a trial is to be stopped.

        Args:
            epoch: of its retraining, from 1.
            accuracy: on the validation data, after this epoch.
            last: the epoch is its last, after which there is nothing to stop.
        """
        if trial.config.seed != self._rule.seed:
            return False
        # One whose worker died says all of it again.
        if (trial.id, epoch) not in self._said:
            self._said[trial.id, epoch] = self._judged(trial, epoch, accuracy, last)
        return self._said[trial.id, epoch]

    def _judged(self, trial: Trial, epoch: int, accuracy: float, last: bool) -> bool:
        if trial.id not in self._trials:
            self._trials[trial.id] = self._study(trial).ask()
        asked = self._trials[trial.id]
        asked.report(accuracy, epoch)
        if last:
            asked.study.tell(asked, accuracy)
            return False
        return asked.should_prune()

    def _study(self, trial: Trial) -> optuna.Study:
        """What Optuna knows of the trials that this one is compared with."""
        config = trial.config
        begin = config.prune_epoch if config.rewind_epoch is None else config.rewind_epoch
        kind = str((config.epochs, config.steps, config.retrain_epochs, int(begin)))
        if kind not in self._studies:
            self._studies[kind] = optuna.create_study(
                study_name=kind,
                direction="maximize",
                sampler=RandomSampler(seed=0),  # nothing is sampled
                pruner=PRUNERS[self._rule.name](self._rule.after),
            )
        return self._studies[kind]
