"""A trial's config: every field that decides its outcome, with its type, role, meaning and default.

This module imports no torch: the names of data sets, models and criteria are looked up when one is checked.
"""

from collections.abc import Hashable, Iterable
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as validated
from pydantic.fields import FieldInfo

from sweep.names import density_pairs, fractions, one_of
from sweep.parts import Arguments
from sweep.pruning_fields import Count, Epoch, Pruning, Rate, Seed
from sweep.roles import DENSE_TRAINING, SCORES, About, Role

# The field of which a study may give each pattern by itself, as `densities.conv*`.
DENSITIES = "densities"
# The criterion of a network that is not pruned.
DENSE = "dense"
# Criteria that rank no weights: each trial has one of all masks that there are, drawn and not chosen.
DRAWN = frozenset({"oracle"})


class Roots(NamedTuple):
    """The seeds that a trial's random draws are derived from.

    Attributes:
        init: of the weights, those that `ablation: reinit` draws among them.
        order: of the order of the training images, how they are augmented, and layers that draw, as dropout.
        mask: of all that chooses a mask: scoring batches, random scores, weights that are scored and not
            trained, shuffled masks, what SET grows, masks of a sparse start, first scores of trained masks.
        split: of the validation images, and of random labels.
    """

    init: int
    order: int
    mask: int
    split: int


# With slots, and no dictionary: of a large study many are held at once.
@validated(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Config(Pruning):
    """Everything that decides the outcome of one trial. A study file may give each field a value or a list.

    Each field says its type, its role, its meaning and its default. A default changes nothing: a field that
    is added later and left at its default leaves every trial, its id and its numbers as they were.
    """

    epochs: Annotated[
        Count | None, About(Role.TRAINING, "length of the training, dense and sparse together, in epochs")
    ] = None
    steps: Annotated[Count | None, About(Role.TRAINING, "the same length, in steps")] = None
    batch_size: Annotated[Count, About(Role.TRAINING, "images of a training batch", memory=True)] = 128
    optimizer: Annotated[
        str,
        one_of("optimizer", "sweep.models.optimizers:OPTIMIZERS", own=True),
        About(Role.TRAINING, "the optimizer, by name", memory=True),
    ] = "sgd"
    lr: Annotated[Rate, About(Role.TRAINING, "learning rate at its highest")] = 0.1
    lr_schedule: Annotated[
        str,
        one_of("learning-rate schedule", "sweep.models.optimizers:LR_SCHEDULES", own=True),
        About(Role.TRAINING, "how the learning rate falls over the training, wherever the prune is"),
    ] = "cosine"
    lr_drops: Annotated[
        str,
        AfterValidator(fractions),
        About(Role.TRAINING, "shares of the training at which a step schedule drops"),
    ] = "0.5 0.75"
    lr_drop_factor: Annotated[
        float, Field(gt=0, lt=1), About(Role.TRAINING, "what each drop multiplies the learning rate by")
    ] = 0.1
    warmup_epochs: Annotated[
        Epoch, About(Role.TRAINING, "epochs in which the learning rate rises in a straight line")
    ] = 0
    momentum: Annotated[float, Field(ge=0, lt=1), About(Role.TRAINING, "momentum of sgd")] = 0.9
    nesterov: Annotated[bool, About(Role.TRAINING, "whether the momentum of sgd is Nesterov's")] = False
    weight_decay: Annotated[
        float,
        Field(ge=0, allow_inf_nan=False),
        About(Role.TRAINING, "L2 penalty; decoupled with adamw"),
    ] = 5e-4
    loss: Annotated[
        Annotated[str, one_of("loss", "sweep.models.losses:LOSSES", own=True)] | None,
        About(Role.TRAINING, "the loss that trains and scores, by name; by default the task's own"),
    ] = None
    label_smoothing: Annotated[
        float, Field(ge=0, lt=1), About(Role.TRAINING, "share of the label that all classes get")
    ] = 0
    precision: Annotated[
        Literal["float32", "bf16"],
        About(Role.TRAINING, "of training and evaluation; bf16 by autocast", memory=True),
    ] = "float32"
    compile: Annotated[
        bool, About(Role.TRAINING, "whether torch.compile compiles the network", memory=True)
    ] = False
    # randomness
    seed: Annotated[Seed, About(Role.RANDOMNESS, "of all that a trial draws, but for the split")] = 0
    init_seed: Annotated[Seed | None, About(Role.RANDOMNESS, "of the weights, where not seed")] = None
    order_seed: Annotated[
        Seed | None, About(Role.RANDOMNESS, "of order, augmentation and dropout, where not seed")
    ] = None
    mask_seed: Annotated[
        Seed | None, About(Role.RANDOMNESS, "of all that chooses a mask, where not seed")
    ] = None
    split_seed: Annotated[
        Seed | Literal["seed"],
        About(Role.RANDOMNESS, "of validation images and random labels; seed: another split for every seed"),
    ] = 0
    validation_fraction: Annotated[
        float,
        Field(gt=0, lt=1),
        About(Role.DATA, "share of the training images that validates", memory=True),
    ] = 0.1
    stratified: Annotated[
        bool, About(Role.DATA, "each class gives the same share of its images for validation")
    ] = False
    # Parameters of parts, sorted, such as `("criterion.power", 0.5)`: those of one's own parts, and those of
    # built-in parts that differ from their default. Whole real numbers are integers here.
    parameters: Arguments = ()

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

    def arguments(self, field: str) -> Arguments:
        """The parameters of the part that a field names, such as `("power", 0.5)`."""
        if not self.parameters:
            return ()
        pairs = ((name.partition("."), value) for name, value in self.parameters)
        return tuple((name, value) for (of, _, name), value in pairs if of == field)

    def value(self, name: str) -> Any:
        """The value of a field, of a parameter such as `criterion.power`, or of a pattern of `densities`.

        None: there is no such parameter or pattern.
        """
        field, dot, own = name.partition(".")
        if not dot:
            return getattr(self, name)
        if field == DENSITIES:
            return density_pairs(self.densities).get(own) if self.densities else None
        return dict(self.parameters).get(name)

    @property
    def trunk(self) -> Hashable:
        """All that dense training depends on, however far it goes."""
        roots = self.roots
        return values_of(self, DENSE_TRAINING), roots.init, roots.order, roots.split

    @property
    def scoring(self) -> Hashable:
        """All that the scores of the unpruned network depend on, masks of a sparse start among them."""
        start = (self.initial_sparsity, self.initial_scope) if self.initial_sparsity else ()
        return values_of(self, SCORES), self.roots, *start


# What the fields are, in their order, without the parameters of parts.
FIELDS: dict[str, FieldInfo] = {
    name: field
    for name, field in Config.__pydantic_fields__.items()  # type: ignore[attr-defined]
    if name != "parameters"
}


def about(field: str) -> About:
    """The role and the meaning of a field."""
    [said] = (each for each in FIELDS[field].metadata if isinstance(each, About))
    return said


@cache
def with_role(*roles: Role) -> tuple[str, ...]:
    """The names of the fields with one of these roles, in their order."""
    return tuple(name for name in FIELDS if about(name).role in roles)


@cache
def _reader(roles: tuple[Role, ...], also: tuple[str, ...]) -> "attrgetter[Any]":
    return attrgetter(*(name for name in FIELDS if about(name).role in roles or name in also))


def values_of(config: Config, roles: Iterable[Role], *also: str) -> Any:
    """The values of the fields with one of these roles, and of some more, in the order of the fields.

    The parameters of the parts that these fields name come last.
    """
    roles = tuple(roles)
    values = _reader(roles, also)(config)
    if not config.parameters:
        return values
    of_roles = tuple(each for each in config.parameters if about(each[0].partition(".")[0]).role in roles)
    return (values, of_roles) if of_roles else values


# Which draws a trial gets. They count by what `Config.roots` makes of them, whichever field holds the seed.
SEEDS = with_role(Role.RANDOMNESS)
# The fields that choose a mask. The other fields are the setting in which the mask is tested.
CHOICE = tuple(name for name in with_role(Role.SCORING, Role.MASK) if name != "sparsity")
# The fields that are for a value of another field, and this field and value.
BESIDE = {name: beside for name in FIELDS if (beside := about(name).beside)}
# The fields that say when the prune is.
WHEN = ("prune_epoch", "prune_when", "prune_threshold")
# The fields that a dense network does not depend on.
AFTER_DENSE = (*with_role(Role.TARGET, Role.UNITS, Role.SCORING, Role.MASK, Role.RETRAINING), "mask_seed")
