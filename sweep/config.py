"""A trial's config: everything that decides its outcome, and the name that follows from it."""

import hashlib
import json
import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as validated
from pydantic.fields import FieldInfo

import pruners
from sweep import data, models
from sweep.errors import BadInput
from sweep.models import optimizers

# Part of every trial's identity: raise it when the same config would give other numbers.
PROTOCOL = 2
DENSE = "dense"
# Not scores but rules: `sweep.stages` has the levels, `sweep.masking` the combinations, and `sweep.sparse`
# the masks that change along training.
ALONG = ("gmp", "set", "rigl", "granet")
RULES = ("imp", *ALONG, "oracle")


def one_of(kind: str, known: list[str], prefix: str = "") -> AfterValidator:
    """Accept a name out of a list, or one with the prefix; the error gives the nearest name."""

    def check(name: str) -> str:
        if name in known or (prefix and name.startswith(prefix) and name != prefix):
            return name
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        listed = ", ".join([*known, f"{prefix}NAME"] if prefix else known)
        raise ValueError(f"no such {kind}; " + (f"did you mean {near[0]}?" if near else f"known: {listed}"))

    return AfterValidator(check)


def _fractions(text: str) -> str:
    """Rising shares of the training, one space between them."""
    try:
        shares = [float(word) for word in text.split()]
    except ValueError:
        shares = [2.0]
    if shares != sorted(set(shares)) or not all(0 < share < 1 for share in shares):
        raise ValueError("it takes rising shares of the training, such as '0.5 0.75'")
    return " ".join(map(repr, shares))


Count = Annotated[int, Field(ge=1, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]  # results hold it as a 64-bit integer
Epoch = Annotated[float, Field(ge=0, le=10**6, allow_inf_nan=False)]


class Roots(NamedTuple):
    """The seeds that a trial's random draws are derived from.

    Attributes:
        init: of the weights, those that `ablation: reinit` draws among them.
        order: of the order of the training images, how they are augmented, and layers that draw, as dropout.
        mask: of all that chooses a mask: scoring batches, random scores, weights that are scored and not
            trained, shuffled masks, what SET grows.
        split: of the validation images, and of random labels.
    """

    init: int
    order: int
    mask: int
    split: int


# With slots, and no dictionary: of a large study many are held at once.
@validated(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Config:
    """Everything that decides the outcome of one trial. A study file may give each field a value or a list.

    Defaults are the same for everybody, so that equal questions have equal ids.
    """

    dataset: Annotated[str, one_of("dataset", list(data.DATASETS), data.FOLDER)]
    augment: Annotated[str, one_of("augmentation", list(data.AUGMENTATIONS))] = "none"
    random_labels: bool = False
    model: Annotated[str, one_of("model", list(models.MODELS), models.TORCHVISION)]
    init: Annotated[str, one_of("initialization", list(models.INITIALIZATIONS))] = "kaiming"
    # pruning
    criterion: Annotated[str, one_of("criterion", [*pruners.names(), *RULES, DENSE])]
    sparsity: float = Field(ge=0, lt=1)
    scope: Annotated[str, one_of("scope", list(pruners.SCOPES))] = "global"
    iterations: Count = 1
    schedule: Annotated[str, one_of("schedule", list(pruners.SCHEDULES))] = "exponential"
    structure: Literal["weight", "filter"] = "weight"
    layers: str = "*"
    min_per_layer: Annotated[int, Field(ge=0, le=10**9)] = 0
    prune_epoch: Epoch = 0
    score_batches: Count = 1
    score_batch_size: Count = 128
    balanced: bool = False
    score_mode: Literal["own", "train", "eval"] = "own"
    score_loss: Literal["cross-entropy", "logit"] = "cross-entropy"
    score_init: Literal["same", "fresh"] = "same"
    combination: Annotated[int, Field(ge=0, le=10**9)] = 0
    update_every: Count = 100
    update_end: float = Field(0.75, gt=0, le=1)
    drop_fraction: float = Field(0.3, gt=0, le=1)
    # after pruning
    ablation: Literal["none", "shuffle", "invert", "reinit"] = "none"
    rewind_epoch: Epoch | None = None
    retrain: Literal["all", "bn", "bias", "bn+bias", "head"] = "all"
    retrain_epochs: Epoch | None = None
    retrain_lr: float | None = Field(None, gt=0, allow_inf_nan=False)
    # training
    epochs: Count | None = None
    steps: Count | None = None
    batch_size: Count = 128
    optimizer: Annotated[str, one_of("optimizer", list(optimizers.OPTIMIZERS))] = "sgd"
    lr: float = Field(0.1, gt=0, allow_inf_nan=False)
    lr_schedule: Annotated[str, one_of("learning-rate schedule", list(optimizers.LR_SCHEDULES))] = "cosine"
    lr_drops: Annotated[str, AfterValidator(_fractions)] = "0.5 0.75"
    lr_drop_factor: float = Field(0.1, gt=0, lt=1)
    warmup_epochs: Epoch = 0
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(5e-4, ge=0, allow_inf_nan=False)
    label_smoothing: float = Field(0, ge=0, lt=1)
    precision: Literal["float32", "bf16"] = "float32"
    compile: bool = False
    # randomness
    seed: Seed = 0
    init_seed: Seed | None = None
    order_seed: Seed | None = None
    mask_seed: Seed | None = None
    split_seed: Seed | Literal["seed"] = 0
    validation_fraction: float = Field(0.1, gt=0, lt=1)
    stratified: bool = False

    @property
    def roots(self) -> Roots:
        """The seed of each kind of draw: its own where the config holds one, else the trial's."""
        seed = self.seed
        return Roots(
            seed if self.init_seed is None else self.init_seed,
            seed if self.order_seed is None else self.order_seed,
            seed if self.mask_seed is None else self.mask_seed,
            seed if self.split_seed == "seed" else self.split_seed,
        )

    @property
    def trunk(self) -> Hashable:
        """All that dense training depends on, however far it goes."""
        roots = self.roots
        return _of_dense(self), roots.init, roots.order, roots.split

    @property
    def scoring(self) -> Hashable:
        """All that the scores of the unpruned network depend on."""
        return _of_scoring(self), self.roots

    @property
    def chain(self) -> Hashable:
        """All that the levels of iterative magnitude pruning depend on, however many there are.

        Levels remove an equal share each, so that the first levels of many are those of few. The share is
        rounded, so that 0.8² and 0.8³ are levels of one chain.
        """
        roots = self.roots
        levels = _of_levels(self), float(self.rewind_epoch or 0), self.level_density
        return levels, roots.init, roots.order, roots.split

    @property
    def level_density(self) -> float:
        """Share of weights that one level of iterative magnitude pruning keeps."""
        return round(float((1 - self.sparsity) ** (1 / self.iterations)), 9)


# What the fields are, in their order.
FIELDS: dict[str, FieldInfo] = Config.__pydantic_fields__  # type: ignore[attr-defined]
# Which draws a trial gets; nothing to choose by.
SEEDS = ("seed", "init_seed", "order_seed", "mask_seed", "split_seed")
# Fields that came after protocol 2. A trial that leaves one at its default is the trial that it was before
# there was such a field: the canonical config does not name it.
_LATER = frozenset({"init_seed", "order_seed", "mask_seed", "stratified"})

# Fields that only say how to choose a mask, those that only say what scores it, and so on: with nothing to
# choose, or nothing to score, they cannot matter.
_SCORING = ("score_batches", "score_batch_size", "balanced", "score_loss")
_LEVELS = ("scope", "layers", "min_per_layer")
_PRUNING = (
    *("scope", "iterations", "schedule", "structure", "layers", "min_per_layer", "prune_epoch", *_SCORING),
    *("score_mode", "score_init", "ablation", "rewind_epoch", "retrain", "retrain_epochs", "retrain_lr"),
)
_UPDATES = ("update_every", "update_end", "drop_fraction")
# What dense training does not depend on.
_AFTER_DENSE = ("criterion", "sparsity", "combination", *_UPDATES, *_PRUNING)
# What the scores of the unpruned network do not depend on: how masks come of them, and what comes then.
_AFTER_SCORING = (
    *("sparsity", "scope", "iterations", "schedule", "structure", "min_per_layer", "combination", *_UPDATES),
    *("ablation", "rewind_epoch", "retrain", "retrain_epochs", "retrain_lr"),
)


def _all_but(*names: str) -> tuple[str, ...]:
    return tuple(name for name in FIELDS if name not in names)


_ALL, _OF_ARM = _all_but(), _all_but("seed", "sparsity")
# Seeds count by what they come to, whichever field says so.
_of_dense = attrgetter(*_all_but(*_AFTER_DENSE, *SEEDS))
_of_scoring = attrgetter(*_all_but(*_AFTER_SCORING, *SEEDS))
_of_levels = attrgetter(*_all_but(*({*_AFTER_DENSE, "rewind_epoch", *SEEDS} - {*_LEVELS})))
_DEFAULTS = {name: field.default for name, field in FIELDS.items()}


@lru_cache(maxsize=4096)
def _json(name: str, value: object) -> str:
    """A field of the canonical config, or nothing: trials have most of theirs in common."""
    if name in _LATER and value == _DEFAULTS[name]:
        return ""
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    return f"{json.dumps(name)}:{json.dumps(whole)}"


def moot(config: Config) -> dict[str, Any]:
    """The fields that cannot matter to this config's outcome, each with its default."""
    names: list[str] = []
    if config.sparsity == 0 or config.criterion == DENSE:
        names += [*_PRUNING, *_UPDATES, "combination", "mask_seed"]
    else:
        if config.criterion != "oracle":
            names += ["combination"]
        if config.criterion not in ALONG:
            names += _UPDATES
        elif config.criterion == "gmp":
            names += ["drop_fraction"]
        if config.criterion in RULES:
            names += [*_SCORING, "score_mode", "score_init"]
            if config.criterion not in ("set", "rigl"):
                names += ["mask_seed"]
        elif not pruners.find(config.criterion).needs_data:
            names += _SCORING
        if config.criterion == "imp":  # prunes at its end, by its own rate, and rewinds to 0 unless told
            names += ["prune_epoch", "schedule", *(["rewind_epoch"] if not config.rewind_epoch else [])]
        if config.criterion in pruners.names() and pruners.find(config.criterion).static:
            # Its ranking is the same at every mask: one iteration gives what many would.
            names += ["iterations"]
        if config.iterations == 1 or "iterations" in names:
            names += ["schedule"]
    if config.optimizer != "sgd":
        names += ["momentum", "nesterov"]
    if config.lr_schedule != "step":
        names += ["lr_drops", "lr_drop_factor"]
    return {name: _DEFAULTS[name] for name in names}


@dataclass(frozen=True)
class Trial:
    """One prune-then-train run: a config, and the name that follows from it."""

    config: Config

    @cached_property
    def id(self) -> str:
        """16 hex digits of the SHA-256 of the canonical config; the same question has the same id."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()[:16]

    @property
    def canonical(self) -> str:
        """The config as JSON: sorted keys, defaults filled in, whole numbers as integers, the protocol.

        Fields that came after the protocol are left out at their defaults.
        """
        return self._text(_ALL)

    @property
    def arm(self) -> str:
        """The same less seed and sparsity: what trials have in common that answer one question together."""
        return self._text(_OF_ARM)

    def _text(self, names: Sequence[str]) -> str:
        fields = map(_json, names, attrgetter(*names)(self.config))
        return "{" + ",".join(sorted([*filter(None, fields), _json("protocol", PROTOCOL)])) + "}"

    @staticmethod
    def of(config: Config) -> "Trial":
        """The trial of a config, after setting what cannot matter to its default.

        Sparsity 0 is one dense run, whatever the criterion; criteria that look at no data do not care which.

        Raises:
            BadInput: its fields do not go together.
        """
        check(config)
        update = moot(config)
        if config.sparsity == 0 or config.criterion == DENSE:
            update |= {"criterion": DENSE, "sparsity": 0.0}
        other = {name: value for name, value in update.items() if getattr(config, name) != value}
        return Trial(replace(config, **other) if other else config)


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
    for field, message in _inconsistencies(config):
        raise Inconsistent(field, message)


def _inconsistencies(config: Config) -> Iterator[tuple[str, str]]:
    """The fields that do not go with the others, each with one line why."""
    criterion, rewind = config.criterion, config.rewind_epoch
    if config.epochs is None and config.steps is None:
        yield "epochs", "epochs or steps is missing: give one"
    if config.epochs is not None and config.steps is not None:
        yield "steps", "give epochs or steps, not both"
    # How long steps are the data say.
    if config.epochs is not None and config.prune_epoch > config.epochs:
        yield (
            "prune_epoch",
            f"prune_epoch {config.prune_epoch:g} is beyond the {config.epochs:g} epochs of training",
        )
    if config.nesterov and not config.momentum:
        yield "nesterov", "nesterov needs a momentum above 0"
    if criterion == DENSE and config.sparsity > 0:
        yield "criterion", "criterion dense prunes nothing: give it sparsity 0"
    if rewind is not None:
        last = config.prune_epoch
        if criterion == "imp":
            last = math.inf if config.epochs is None else config.epochs
        if rewind > last:
            yield "rewind_epoch", "rewind_epoch lies after the pruning: there is nothing yet to go back to"
        if config.retrain_epochs is not None:
            yield (
                "retrain_epochs",
                "retrain_epochs and rewind_epoch: after a rewind training goes to the end of epochs; "
                "give one",
            )
        if criterion in ALONG:
            yield "rewind_epoch", f"{criterion} prunes along training: there is nothing to rewind"
    if config.retrain_lr is not None and config.retrain_epochs is None:
        yield "retrain_lr", "retrain_lr needs retrain_epochs: how long to retrain"
    if config.precision == "bf16" and config.model.startswith(("lstm", "gru")):
        yield (
            "precision",
            f"precision bf16: {config.model} would be computed in float16 on a GPU: leave it out",
        )
    if criterion in RULES:
        yield from _inconsistencies_of_rules(config)
    if config.ablation == "shuffle" and config.structure == "filter":
        yield "ablation", "ablation shuffle permutes single weights: leave out structure"
    if config.structure == "filter" and config.scope not in ("global", "uniform"):
        yield "scope", f"scope {config.scope} with structure filter: take global or uniform"
    if config.scope == "rowwise" and config.min_per_layer > 0:
        yield "min_per_layer", "min_per_layer does not go with scope rowwise: every row keeps as many"
    if config.iterations > 1 and criterion not in ("imp", DENSE):
        one_shot = criterion in RULES
        if not one_shot:
            known = pruners.find(criterion)
            one_shot = known.iterations == 1 and not known.static
        if one_shot:
            iterative = ", ".join(name for name in pruners.names() if pruners.find(name).iterations > 1)
            yield (
                "iterations",
                f"iterations {config.iterations}: {criterion} is one-shot; "
                f"put iterations in a block with one of {iterative}, imp",
            )


def _inconsistencies_of_rules(config: Config) -> Iterator[tuple[str, str]]:
    """Those of criteria that are not scores."""
    criterion, ablation = config.criterion, config.ablation
    if ablation == "invert":
        yield (
            "ablation",
            f"ablation invert: {criterion} ranks by no score of one moment; take another ablation",
        )
    if criterion in ("imp", *ALONG):
        if config.structure == "filter" or config.retrain_epochs is not None or config.retrain != "all":
            yield (
                "criterion",
                f"{criterion} prunes single weights and trains them all: leave out structure and retrain",
            )
        if ablation == "shuffle" or (ablation != "none" and criterion in ALONG):
            yield "ablation", f"ablation {ablation} does not apply to {criterion}, whose masks change"
    if criterion in ("set", "rigl") and config.prune_epoch > 0:
        yield "prune_epoch", f"{criterion} is sparse from the start: leave out prune_epoch"
    if criterion == "oracle":
        if config.min_per_layer > 0:
            yield (
                "min_per_layer",
                "min_per_layer does not apply to oracle, which keeps as many of each layer as the "
                "sparsity says",
            )
        if config.structure != "filter":
            yield "criterion", "oracle removes filters: give it structure: filter"
