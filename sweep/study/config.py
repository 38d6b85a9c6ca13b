"""A trial's config: everything that decides its outcome, and the name that follows from it."""

from collections.abc import Hashable
from difflib import get_close_matches
from operator import attrgetter
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as validated
from pydantic.fields import FieldInfo

import pruners
from sweep import data, models
from sweep.models import optimizers

DENSE = "dense"
# Not scores but rules: `trial.stages` has the levels, `trial.masking` the combinations, and `mask_updates`
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

# Fields that only say how to choose a mask, those that only say what scores it, and so on: with nothing to
# choose, or nothing to score, they cannot matter.
SCORING = ("score_batches", "score_batch_size", "balanced", "score_loss")
_LEVELS = ("scope", "layers", "min_per_layer")
PRUNING = (
    *("scope", "iterations", "schedule", "structure", "layers", "min_per_layer", "prune_epoch", *SCORING),
    *("score_mode", "score_init", "ablation", "rewind_epoch", "retrain", "retrain_epochs", "retrain_lr"),
)
UPDATES = ("update_every", "update_end", "drop_fraction")
# What dense training does not depend on.
_AFTER_DENSE = ("criterion", "sparsity", "combination", *UPDATES, *PRUNING)
# What the scores of the unpruned network do not depend on: how masks come of them, and what comes then.
_AFTER_SCORING = (
    *("sparsity", "scope", "iterations", "schedule", "structure", "min_per_layer", "combination", *UPDATES),
    *("ablation", "rewind_epoch", "retrain", "retrain_epochs", "retrain_lr"),
)


def all_but(*names: str) -> tuple[str, ...]:
    """The fields but some."""
    return tuple(name for name in FIELDS if name not in names)


# Seeds count by what they come to, whichever field says so.
_of_dense = attrgetter(*all_but(*_AFTER_DENSE, *SEEDS))
_of_scoring = attrgetter(*all_but(*_AFTER_SCORING, *SEEDS))
_of_levels = attrgetter(*all_but(*({*_AFTER_DENSE, "rewind_epoch", *SEEDS} - {*_LEVELS})))
