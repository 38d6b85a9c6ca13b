"""Early stopping of poor trials by Optuna's pruners. Optuna prunes trials; here that is called stopping."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, SuccessiveHalvingPruner
from optuna.samplers import RandomSampler

from sweep.study.identity import Trial

PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    # Name → pruner, from the epochs of retraining before which no trial is stopped.
    "median": lambda after: MedianPruner(n_warmup_steps=after),
    "asha": lambda after: SuccessiveHalvingPruner(min_resource=after),
    "hyperband": lambda after: HyperbandPruner(min_resource=after),
}


@dataclass(frozen=True)
class Past:
    """An earlier trial along its retraining.

    Attributes:
        accuracies: on the validation data, after each epoch of retraining.
        finished: the trial was not stopped and did not diverge.
    """

    trial: Trial
    accuracies: Sequence[float]
    finished: bool


@dataclass(frozen=True)
class Rule:
    """When a trial is stopped early.

    Attributes:
        name: one of `PRUNERS`.
        after: epochs of retraining that each trial has at least.
        seed: of the trials that can be stopped. Other seeds belong to promising schedules and run in full.
        past: earlier trials to compare with.
    """

    name: str
    after: int
    seed: int
    past: Sequence[Past] = ()


class Judge:
    """Says which trials are poor. All trials report to it while they are retrained.

    A trial is compared, epoch by epoch of its retraining, only with trials that train as long and are pruned
    in the same epoch. A trial that is pruned later has trained longer by then, and would win unfairly.
    """

    def __init__(self, rule: Rule) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._rule = rule
        self._studies: dict[str, optuna.Study] = {}
        self._trials: dict[str, optuna.Trial] = {}
        self._verdicts: dict[tuple[str, int], bool] = {}
        for past in rule.past:
            for epoch, accuracy in enumerate(past.accuracies, 1):
                self.poor(past.trial, epoch, accuracy, past.finished and epoch == len(past.accuracies))

    def poor(self, trial: Trial, epoch: int, accuracy: float, last: bool) -> bool:
        """Whether a trial is to be stopped.

        Args:
            epoch: of its retraining, from 1.
            accuracy: on the validation data, after this epoch.
            last: this epoch is the trial's last.
        """
        if trial.config.seed != self._rule.seed:
            return False
        # A trial whose worker died runs again, and reports its epochs again.
        if (trial.id, epoch) not in self._verdicts:
            self._verdicts[trial.id, epoch] = self._judge(trial, epoch, accuracy, last)
        return self._verdicts[trial.id, epoch]

    def _judge(self, trial: Trial, epoch: int, accuracy: float, last: bool) -> bool:
        """Report an epoch to Optuna; whether Optuna would prune the trial."""
        if trial.id not in self._trials:
            self._trials[trial.id] = self._study(trial).ask()
        asked = self._trials[trial.id]
        asked.report(accuracy, epoch)
        if last:
            asked.study.tell(asked, accuracy)
            return False
        return asked.should_prune()

    def _study(self, trial: Trial) -> optuna.Study:
        """Optuna's study of the trials that a trial is compared with."""
        config = trial.config
        retrained_from = config.prune_epoch if config.rewind_epoch is None else config.rewind_epoch
        kind = str((config.epochs, config.steps, config.retrain_epochs, int(retrained_from)))
        if kind not in self._studies:
            self._studies[kind] = optuna.create_study(
                study_name=kind,
                direction="maximize",
                sampler=RandomSampler(seed=0),  # nothing is sampled
                pruner=PRUNERS[self._rule.name](self._rule.after),
            )
        return self._studies[kind]
