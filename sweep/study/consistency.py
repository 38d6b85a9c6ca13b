"""Which fields of a config do not go together."""

from collections.abc import Callable, Iterator
from fractions import Fraction

import pruners
from sweep import models, rules
from sweep.config import SEEDS, Config
from sweep.data import AUGMENTATIONS, CLASSIFICATION, TASKS, Form, catalog
from sweep.errors import BadInput
from sweep.models import losses
from sweep.names import TORCHVISION
from sweep.rules.moments import MOMENTS
from sweep.study import calibration, structures

# Fields that no check reads: their values change no verdict.
UNCHECKED = (*SEEDS, "combination")
# A field to correct, and the message that says why.
Problem = tuple[str, str]


class Inconsistent(BadInput):
    """The fields of a config do not go together.

    Attributes:
        field: the field to correct.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def check(config: Config) -> None:
    """Check that the fields of a config go together.

    Raises:
        Inconsistent: they do not.
        BadInput: the model does not exist.
    """
    rule = rules.find(config.criterion)
    for problems in (
        _length,
        _training,
        _weights,
        _known_task,
        calibration.of_domain,
        rule.inconsistencies,
        _moment,
        _retraining,
        _masks,
        _shrinking,
        _compensating,
        _start,
    ):
        for field, message in problems(config):
            raise Inconsistent(field, message)


def check_steps(config: Config, epoch: Callable[[], int]) -> None:
    """Check that the prune and the rewind come before the end of a training that is given in steps.

    `check` cannot: only the data say how many steps an epoch has.

    Args:
        epoch: returns the steps of an epoch; called only if needed.

    Raises:
        Inconsistent: the prune or the rewind comes after the end.
    """
    for field in ("prune_epoch", "rewind_epoch"):
        at = getattr(config, field)
        if config.steps and at and round(at * epoch()) > config.steps:
            raise Inconsistent(*_too_late(field, at, f"{config.steps} steps of training, {epoch()} an epoch"))


def check_form(config: Config, form: Form) -> None:
    """Check that a config goes with the inputs and the task of its data set.

    Raises:
        Inconsistent: it does not.
    """
    if config.augment in AUGMENTATIONS and config.augment != "none" and not form.images:
        raise Inconsistent(
            "augment",
            f"augment {config.augment}: the inputs of {config.dataset} are no images of 8 bits: leave it out",
        )
    for field, message in (*calibration.of_form(config, form), *_of_task(config, form.task)):
        raise Inconsistent(field, message)


def _known_task(config: Config) -> Iterator[Problem]:
    task = catalog.task(config.dataset)
    return _of_task(config, task) if task else iter(())


def _of_task(config: Config, task: str) -> Iterator[Problem]:
    loss = losses.chosen(config.loss, task)
    if not loss.fits(task):
        known = ", ".join(name for name, each in losses.LOSSES.items() if each.fits(task))
        yield "loss", f"loss {config.loss}: it is not for {task}: take one of {known}"
    if config.label_smoothing and not loss.smooths:
        name = config.loss or TASKS[task].loss
        yield "label_smoothing", f"label_smoothing: the loss {name} takes none: leave it out"
    if config.retrain_loss == "distill" and not TASKS[task].labelled:
        yield (
            "retrain_loss",
            f"retrain_loss distill compares shares of classes and {config.dataset} is {task}: leave it out",
        )
    yield from calibration.of_task(config, task)
    if task == CLASSIFICATION:
        return
    for field, asked in (
        ("score_loss logit", config.score_loss == "logit"),
        ("balanced", config.balanced),
        ("stratified", config.stratified),
    ):
        if asked:
            name = field.partition(" ")[0]
            yield name, f"{field} is for classification and {config.dataset} is {task}: leave it out"


def _too_late(field: str, epoch: float, training: str) -> Problem:
    return field, f"{field} {epoch:g} is beyond the {training}: choose an earlier epoch, or train longer"


def _length(config: Config) -> Iterator[Problem]:
    if config.epochs is None and config.steps is None:
        yield "epochs", "epochs or steps is missing: give one"
    if config.epochs is not None and config.steps is not None:
        yield "steps", "give epochs or steps, not both"
    if config.epochs is not None and config.prune_epoch > config.epochs:
        yield _too_late("prune_epoch", config.prune_epoch, f"{config.epochs:g} epochs of training")


def _moment(config: Config) -> Iterator[Problem]:
    if config.prune_when is None:
        if config.prune_threshold is not None:
            yield "prune_threshold", "prune_threshold needs prune_when: whose threshold it is"
        return
    rule, moment = rules.find(config.criterion), MOMENTS[config.prune_when]
    if not rule.prunes:
        return
    if not rule.waits:
        yield (
            "prune_when",
            f"prune_when {config.prune_when}: {config.criterion.partition('@')[0]} has moments of its own: "
            "put prune_when in a block with criteria that prune once",
        )
    if not config.prune_epoch:
        yield "prune_when", f"prune_when {config.prune_when} needs prune_epoch: the latest epoch of the prune"
    yield from moment.inconsistencies(config)
    if config.rewind_epoch and config.rewind_epoch > moment.earliest:
        yield (
            "rewind_epoch",
            f"rewind_epoch {config.rewind_epoch:g}: prune_when {config.prune_when} may prune at epoch "
            f"{moment.earliest} already: rewind to an epoch up to it",
        )


def _retraining(config: Config) -> Iterator[Problem]:
    if config.rewind_epoch is not None:
        if config.rewind_epoch > rules.find(config.criterion).last_prune(config):
            yield "rewind_epoch", "rewind_epoch lies after the pruning: rewind to an epoch before it"
        if config.retrain_epochs is not None:
            yield (
                "retrain_epochs",
                "retrain_epochs and rewind_epoch: after a rewind training goes to the end of epochs; "
                "give one",
            )
    if config.retrain_lr is not None and config.retrain_epochs is None:
        yield "retrain_lr", "retrain_lr needs retrain_epochs: how long to retrain"
    if config.twin_seed is not None and not rules.find(config.criterion).twins:
        known = ", ".join(name for name, rule in rules.RULES.items() if rule.twins)
        yield (
            "twin_seed",
            f"twin_seed: {config.criterion} has no one training after its last pruning to repeat: take a "
            f"criterion that prunes once, or one of {known}",
        )


def _training(config: Config) -> Iterator[Problem]:
    if config.nesterov and not config.momentum:
        yield "nesterov", "nesterov needs a momentum above 0"
    if config.precision == "bf16" and not models.find(config.model).bf16:
        yield (
            "precision",
            f"precision bf16: {config.model} would be computed in float16 on a GPU: leave it out",
        )


def _weights(config: Config) -> Iterator[Problem]:
    if config.weights == TORCHVISION and not config.model.startswith(models.TORCHVISION):
        yield "weights", f"weights torchvision: it has none for {config.model}: name a file or a trial"
    if not config.keep_mask:
        return
    if config.weights is None:
        yield "keep_mask", "keep_mask: random weights have no mask: name weights, or leave keep_mask out"
    if config.sparsity and not rules.find(config.criterion).scores:
        yield "keep_mask", f"keep_mask: {config.criterion} ranks by no score of one moment: take a criterion"
    for field, plain in (("structure", "weight"), ("layers", "*")):
        if getattr(config, field) != plain:
            yield (
                field,
                f"{field} with keep_mask: the mask is of single weights of all layers: leave it out",
            )
    if config.ablation == "shuffle":
        yield "ablation", "ablation shuffle with keep_mask: removed weights would come back: leave one out"


def _start(config: Config) -> Iterator[Problem]:
    """What does not go with a random sparse start."""
    sparsity = config.initial_sparsity
    if not sparsity or not config.sparsity:
        return
    if "initial_sparsity" not in rules.find(config.criterion).reads(config):
        yield (
            "initial_sparsity",
            f"initial_sparsity: {config.criterion} has a start of its own: leave it out",
        )
    if sparsity > config.sparsity:
        yield (
            "initial_sparsity",
            f"initial_sparsity {sparsity:g} is above the sparsity {config.sparsity:g}: pruned weights stay "
            "pruned: give less",
        )
    if config.keep_mask:
        yield "initial_sparsity", "initial_sparsity and keep_mask are two sparse starts: give one"
    if config.structure != "weight":
        yield "initial_sparsity", "initial_sparsity is of single weights: leave out structure"
    if config.ablation == "shuffle":
        yield (
            "ablation",
            "ablation shuffle with initial_sparsity: removed weights would come back: leave one out",
        )


def _masks(config: Config) -> Iterator[Problem]:
    yield from structures.problems(config)
    if config.scope == "rowwise" and config.min_per_layer > 0:
        yield (
            "min_per_layer",
            "min_per_layer does not go with scope rowwise: every row keeps the same number of weights",
        )
    if config.densities is not None and config.scope != "global":
        yield "densities", f"densities with scope {config.scope}: they take its place: leave one out"
    if config.sparsity:
        yield from _counts(config)
    if config.iterations > 1 and not rules.find(config.criterion).takes_iterations(config):
        criteria = [name for name in pruners.names() if pruners.find(name).iterations > 1]
        iterative = [*criteria, *(rule.name for rule in rules.RULES.values() if rule.iterative)]
        yield (
            "iterations",
            f"iterations {config.iterations}: {config.criterion} is one-shot; "
            f"put iterations in a block with one of {', '.join(iterative)}",
        )


def _shrinking(config: Config) -> Iterator[Problem]:
    if not config.shrink or not config.sparsity:
        return
    if not rules.find(config.criterion).shrinks:
        yield "shrink", f"shrink: {config.criterion} does not prune once for all: leave shrink out"
    *others, last = (name for name, structure in pruners.STRUCTURES.items() if structure.cut)
    if config.structure not in (*others, last):
        yield (
            "shrink",
            f"shrink: structure {config.structure} leaves no smaller network: "
            f"take structure {', '.join(others)} or {last}",
        )


def _compensating(config: Config) -> Iterator[Problem]:
    asked = f"compensate {config.compensate}"
    if asked == "compensate none" or not config.sparsity:
        return
    if not rules.find(config.criterion).compensates:
        yield "compensate", f"{asked}: {config.criterion} does not prune once for all: leave compensate out"
    for field, others in (
        ("rewind_epoch", config.rewind_epoch is not None),
        ("ablation", config.ablation == "reinit"),
    ):
        if others:
            yield field, f"{field} with {asked}: other weights would take the place of its: leave one out"


def _counts(config: Config) -> Iterator[Problem]:
    """What the pattern of a scope and the target ask of the other fields."""
    if config.scope in pruners.BUDGETS and not rules.find(config.criterion).asks(config):
        why = f"scope {config.scope}: {config.criterion} does not ask for its densities"
        yield "scope", f"{why}: take a criterion that prunes once"
    pattern = pruners.PATTERNS.get(config.scope)
    asked = pattern.sparsity if pattern else None
    if asked is not None and Fraction(str(config.sparsity)) != asked:
        yield (
            "sparsity",
            f"sparsity {config.sparsity:g}: masks of scope {config.scope} have {float(asked):g}: take that",
        )
    if pattern and config.min_per_layer > 0:
        yield "min_per_layer", f"min_per_layer does not go with scope {config.scope}: leave one out"
    if config.target == "kept":
        return
    if config.structure != "weight":
        yield "target", f"target {config.target} counts single weights: leave out structure"
    if asked is not None:
        yield "target", f"target {config.target}: scope {config.scope} says how many are kept: leave one out"
    if config.ablation == "shuffle":
        yield (
            "ablation",
            f"ablation shuffle with target {config.target}: shuffled masks have other paths: leave one out",
        )
