"""What a rule is: how the masks of a trial are chosen, and what follows from that elsewhere."""

from collections.abc import Callable, Hashable, Iterator
from typing import Any

from torch import nn

import pruners
from sweep import parts
from sweep.config import Config
from sweep.errors import BadInput
from sweep.rules import spread
from sweep.rules.run import Run

# The fields of the batches that score.
BATCHES = frozenset(
    {"score_batches", "score_batch_size", "score_domain", "score_length", "balanced", "score_loss"}
)


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
        counts_effective: whether the sparsity can count effective weights.
        waits: whether the prune may wait for an indicator, `prune_when`.
        last_phase: phase of the learning curve whose epochs count as the trial's result.
        shrinks: whether `shrink` goes with it: it prunes once, and trains the network that is left.
        compensates: whether `compensate` goes with it: it prunes once, and goes on with the weights it has.
        twins: whether the training after the last pruning can be repeated from where it began.
        forgets: whether `run` uses nothing after a move that it took from the network before the move.
        options: makes the rule's options of what a study gives as `criterion.NAME`: a dataclass with a
            default for each option; None: the rule has none.
    """

    name = ""
    prunes = True
    scores = False
    draws = False
    iterative = False
    counts_effective = False
    waits = False
    last_phase = "retrain"
    shrinks = False
    compensates = False
    twins = False
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
        if config.target != "kept" and not self.counts_effective:
            yield (
                "target",
                f"target {config.target}: {config.criterion} counts kept weights: leave target out",
            )

    def takes_iterations(self, config: Config) -> bool:
        """Whether the number of iterations may be above 1."""
        return self.iterative

    def asks(self, config: Config) -> bool:
        """Whether a scope may ask the network for densities, as one may where a score of one moment ranks."""
        return self.scores

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
        return 0 if config.initial_sparsity else config.prune_epoch

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

    def parts_at(self, config: Config) -> float | None:
        """The epoch of dense training from which a twin trains; None: it trains from the last pruning."""
        return None

    def repeated(self, config: Config, epoch: int) -> int:
        """Steps of the training that a twin repeats.

        Args:
            epoch: steps of an epoch.
        """
        return self.steps(config, epoch) - round(config.prune_epoch * epoch)

    def all_steps(self, config: Config, epoch: int) -> int:
        """Steps of all training of the trial, those of its twin included.

        Args:
            epoch: steps of an epoch.
        """
        return self.steps(config, epoch) + (0 if config.twin_seed is None else self.repeated(config, epoch))

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
        plain = not units and not config.min_per_layer and config.densities is None
        if plain and config.scope != "uniform-plus":
            return
        try:
            spread.drawn(config, model, exclude, units)
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


def length(config: Config, epoch: int) -> int:
    """Steps of training without any repeated by a rewind.

    Args:
        epoch: steps of an epoch.
    """
    return config.steps or (config.epochs or 0) * epoch


def removes_units(config: Config) -> bool:
    """Whether the structure of a config has units: more than a single weight is removed as a whole."""
    return pruners.STRUCTURES[config.structure].find is not None


def ranks_units(config: Config, draws: bool) -> bool:
    """Whether units are ranked by the scores of their weights, as `unit_score` says.

    Args:
        draws: whether the scores are independent draws.
    """
    structure = pruners.STRUCTURES[config.structure]
    return removes_units(config) and bool(structure.unit_scores) and not (draws and structure.drawn)


def sparse_start(config: Config) -> frozenset[str]:
    """The fields of a random sparse start that matter: without one its scope and its draw do not."""
    if not config.initial_sparsity:
        return frozenset({"initial_sparsity"})
    return frozenset({"initial_sparsity", "initial_scope", "mask_seed"})


def retrains_otherwise(config: Config) -> bool:
    """Whether the training after a pruning has a schedule, parameters or a loss of its own."""
    plain = config.retrain == "all" and config.retrain_loss == "plain"
    return config.retrain_epochs is not None or not plain


def single_weights_alone(config: Config) -> Iterator[tuple[str, str]]:
    """The complaint of a rule that prunes single weights and trains all of them."""
    if removes_units(config) or retrains_otherwise(config):
        yield (
            "criterion",
            f"{config.criterion} prunes single weights and trains them all: leave out structure and retrain",
        )


def starts_alike(config: Config) -> Iterator[tuple[str, str]]:
    """The complaint of a rule that prunes a sparse start more than once: no layer may gain weights."""
    if config.initial_sparsity and config.scope not in ("global", config.initial_scope):
        yield (
            "scope",
            f"scope {config.scope} after initial_scope {config.initial_scope}: a layer would have to gain "
            f"weights: take scope global{', or the same for both' * (config.scope in pruners.SCOPES)}",
        )
