"""What a rule is: how the masks of a trial are chosen, and what follows from that elsewhere."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

from torch import nn

import pruners
from pruners.batches import Batch, Loss
from sweep import parts
from sweep.config import Config
from sweep.errors import BadInput

# Called with the number of a step when its gradients are ready; True replaces the optimizer's step. A trial
# can go on in the middle of such a training if this has `state_dict` and `load_state_dict`, as optimizers do.
Between = Callable[[int], bool]


class Run(Protocol):
    """The moves that a rule makes with the network of one trial. `sweep.trial.stages.Stages` has them.

    Attributes:
        config: of the trial.
        model: the network, which the moves change.
        exclude: names of the prunable weights that `layers` does not choose.
        total: how many weights may be pruned.
        units: of the trial's structure, group by group; none for single weights.
        end: the last step of training.
    """

    config: Config
    model: nn.Module
    exclude: list[str]
    total: int
    units: pruners.Units

    @property
    def end(self) -> int:
        """The last step of training."""
        ...

    def steps_of(self, epochs: float) -> int:
        """The steps that a number of epochs has."""
        ...

    def dense(self, until: int) -> None:
        """Train without new masks to a step, from the furthest state that another trial has saved."""
        ...

    def score(self) -> pruners.Step:
        """The masks that the trial's criterion chooses, and their scores."""
        ...

    def batches(self) -> Iterable[Batch]:
        """The scoring batches, for criteria that look at data: each pass draws others, alike in every run."""
        ...

    @property
    def loss(self) -> Loss:
        """The loss that scores."""
        ...

    def scoring(self) -> AbstractContextManager[None]:
        """Around the choice of masks, so that its time is recorded."""
        ...

    def full_masks(self) -> pruners.Masks:
        """Masks that keep every weight that may be pruned."""
        ...

    def prune(self, chosen: pruners.Step) -> None:
        """Put masks on, and record the network before and after."""
        ...

    def resume(self, reinit: bool) -> None:
        """Make the changes between a pruning and the training after it: new weights, a rewind, a schedule."""
        ...

    def train(self, phase: str, until: int, between: Between | None = None) -> None:
        """Train to a step, and record each epoch under the name of a phase."""
        ...

    def mask(self, masks: pruners.Masks) -> None:
        """Put masks on, and record nothing."""
        ...

    def record(self, masks: pruners.Masks) -> None:
        """Record the layers at masks that are on."""
        ...

    def load_levels(self, counts: list[int]) -> int:
        """Go on from the last state whose levels kept these counts of weights; how many levels it has."""
        ...

    def save_levels(self, counts: list[int]) -> None:
        """Save the state after the last level, for trials with more levels."""
        ...


class Rule:
    """How the masks of a trial are chosen. One subclass, in a file of its own, is one rule.

    A new rule is one new file and one line in the table of `sweep.rules`. This class holds the answers of a
    rule that prunes once, at `prune_epoch`.

    Attributes:
        name: the value of `criterion` that asks for the rule.
        prunes: whether any weight is removed.
        scores: whether one score of one moment ranks the weights.
        draws: whether the mask is one of all that there are, drawn and not chosen.
        iterative: whether the rule takes a number of iterations.
        last_phase: phase of the learning curve whose epochs count as the trial's result.
        shrinks: whether `shrink` goes with it: it prunes once, and trains the network that is left.
        forgets: whether `run` uses nothing after a move that it took from the network before the move.
        options: makes the rule's options of what a study gives as `criterion.NAME`: a dataclass with a
            default for each option; None: the rule has none.
    """

    name = ""
    prunes = True
    scores = False
    draws = False
    iterative = False
    last_phase = "retrain"
    shrinks = False
    forgets = True
    options: Callable[..., Any] | None = None

    def chosen(self, config: Config) -> Any:
        """The rule's options as a config has them."""
        assert self.options
        return parts.bind(self.options, config.arguments("criterion"))()

    def reads(self, config: Config) -> frozenset[str]:
        """The fields of `sweep.config.AFTER_DENSE` that the outcome depends on.

        The criterion and the sparsity always matter and need not be named. `Trial.of` gives each of the other
        fields that the rule does not read its default.
        """
        raise NotImplementedError

    def inconsistencies(self, config: Config) -> Iterator[tuple[str, str]]:
        """Fields that do not go with the rule, each with one line that says why."""
        if config.ablation == "invert":
            yield (
                "ablation",
                f"ablation invert: {config.criterion} ranks by no score of one moment; take another ablation",
            )

    def takes_iterations(self, config: Config) -> bool:
        """Whether the number of iterations may be above 1."""
        return self.iterative

    def iterations(self, config: Config) -> int:
        """The number of iterations where the study gives none."""
        return 1

    def last_prune(self, config: Config) -> float:
        """The epoch of the last pruning; infinite where only the data say which it is."""
        return config.prune_epoch

    def rewinds_to(self, config: Config) -> float | None:
        """The epoch to which training goes back after a pruning; None: it goes on."""
        return config.rewind_epoch

    def dense_until(self, config: Config) -> float:
        """The epoch up to which training is dense, as other trials' is; infinite: to the end of training."""
        return config.prune_epoch

    def levels(self, config: Config) -> Hashable | None:
        """All that the levels of the trial depend on, however many there are; None: there are no levels."""
        return None

    def leads(self, config: Config) -> bool:
        """Whether trials with more levels can go on from the last level of this one."""
        return False

    def steps(self, config: Config, epoch: int) -> int:
        """Steps of all training of the trial, those that a rewind repeats included.

        Args:
            epoch: steps of an epoch.
        """
        end, pruned = length(config, epoch), round(config.prune_epoch * epoch)
        if config.retrain_epochs is not None:
            return pruned + round(config.retrain_epochs * epoch)
        return end + (0 if config.rewind_epoch is None else pruned - round(config.rewind_epoch * epoch))

    def scored_images(self, config: Config) -> int:
        """Images that pass through the network, forward and back, to score it."""
        return 0

    def check(self, config: Config, model: nn.Module, exclude: list[str], units: pruners.Units) -> None:
        """See that the masks which the config asks for exist.

        Args:
            units: of the config's structure in the network; none for single weights.

        Raises:
            BadInput: they do not.
        """
        if not units and not config.min_per_layer and config.scope != "uniform-plus":
            return
        try:
            pruners.prune(
                "random",
                model,
                sparsity=config.sparsity,
                scope=config.scope,
                exclude=exclude,
                min_per_layer=config.min_per_layer,
                structure=config.structure,
                units=units,
            )
        except ValueError as error:
            raise BadInput(f"{config.model}: {error}") from None

    def check_steps(self, config: Config, epoch: Callable[[], int]) -> None:
        """See that the training is long enough for the rule.

        Args:
            epoch: gives the steps of an epoch.

        Raises:
            BadInput: it is not.
        """

    def run(self, run: Run) -> None:
        """Train and prune."""
        raise NotImplementedError


class AtOnce(Rule):
    """Dense training to the prune epoch, one pruning, retraining."""

    shrinks = True

    def choose(self, run: Run) -> pruners.Step:
        """The masks, and the scores that they come from."""
        raise NotImplementedError

    def run(self, run: Run) -> None:
        """Train and prune."""
        run.dense(run.steps_of(run.config.prune_epoch))
        with run.scoring():
            chosen = self.choose(run)
        run.prune(chosen)
        run.resume(reinit=run.config.ablation == "reinit")
        run.train("retrain", run.end)


def length(config: Config, epoch: int) -> int:
    """Steps of training without any repeated by a rewind.

    Args:
        epoch: steps of an epoch.
    """
    return config.steps or (config.epochs or 0) * epoch


def removes_units(config: Config) -> bool:
    """Whether the structure of a config has units: more than a single weight is removed as a whole."""
    return pruners.STRUCTURES[config.structure].find is not None


def single_weights_alone(config: Config) -> Iterator[tuple[str, str]]:
    """The complaint of a rule that prunes single weights and trains all of them."""
    if removes_units(config) or config.retrain_epochs is not None or config.retrain != "all":
        yield (
            "criterion",
            f"{config.criterion} prunes single weights and trains them all: leave out structure and retrain",
        )
