"""What the rules have in common that prune once, between dense training and retraining."""

import pruners
from sweep.config import Config
from sweep.rules.moments import MOMENTS
from sweep.rules.rule import Rule
from sweep.rules.run import Run


def of_compensation(config: Config) -> frozenset[str]:
    """The fields that a compensation makes matter: those of the batches that it looks at."""
    if config.compensate == "none":
        return frozenset()
    return frozenset({"compensate", "score_batches", "score_batch_size", "balanced"})


class AtOnce(Rule):
    """Dense training to the prune epoch, or to one that an indicator chooses; one pruning; retraining."""

    waits = True
    shrinks = True
    compensates = True
    twins = True

    def scored_images(self, config: Config) -> int:
        """The images that a compensation looks at."""
        looks = of_compensation(config)
        return config.score_batches * config.score_batch_size if looks else 0

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
            chosen = run.compensated(self.choose(run))
        run.prune(chosen)
        run.resume(reinit=run.config.ablation == "reinit")
        run.train("retrain", run.end)
