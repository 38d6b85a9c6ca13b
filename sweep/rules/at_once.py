"""What the rules have in common that prune once, between dense training and retraining."""

import pruners
from sweep.config import Config
from sweep.rules.moments import MOMENTS
from sweep.rules.rule import Rule
from sweep.rules.run import Run


class AtOnce(Rule):
    """Dense training to the prune epoch, or to one that an indicator chooses; one pruning; retraining."""

    waits = True
    shrinks = True
    twins = True

    def choose(self, run: Run) -> pruners.Step:
        """The masks, and the scores that they come from."""
        raise NotImplementedError

    def dense_until(self, config: Config) -> float:
        """The prune epoch; the start where an indicator chooses it, as no state holds what it has seen."""
        return 0 if config.prune_when else super().dense_until(config)

    def run(self, run: Run) -> None:
        """Train and prune."""
        moment = MOMENTS[run.config.prune_when] if run.config.prune_when else None
        watch = moment(run, lambda: self.choose(run).masks) if moment else None
        run.dense(run.steps_of(run.config.prune_epoch), watch)
        with run.scoring():
            chosen = self.choose(run)
        run.prune(chosen)
        run.resume(reinit=run.config.ablation == "reinit")
        run.train("retrain", run.end)
