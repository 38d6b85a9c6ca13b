"""The identity of a trial: its canonical config, its id, its arm."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from operator import attrgetter
from typing import Any

from sweep import models, rules
from sweep.config import AFTER_DENSE, BESIDE, FIELDS, Config
from sweep.data import TASKS, catalog
from sweep.models import weights
from sweep.models.optimizers import LR_SCHEDULES, OPTIMIZERS, lr_schedule, optimizer
from sweep.names import TORCHVISION
from sweep.store.schema import SCHEMAS
from sweep.study.consistency import check

# Part of every trial's identity. Raise it when the same config would give other numbers.
PROTOCOL = 2
# Structure → protocol of its trials in networks where a normalization may read one layer alone. Since
# protocol 3 such a normalization goes with a removed filter. All other trials are as they were.
_WITH_NORMS = {"filter": 3}
# The fields of protocol 2. A canonical config names all of these, and a later field only if it differs from
# its default. So a trial that leaves a later field at its default has the id that it had before the field.
_OF_PROTOCOL = frozenset(
    {
        "dataset",
        "augment",
        "random_labels",
        "model",
        "init",
        "criterion",
        "sparsity",
        "scope",
        "iterations",
        "schedule",
        "structure",
        "layers",
        "min_per_layer",
        "prune_epoch",
        "score_batches",
        "score_batch_size",
        "balanced",
        "score_mode",
        "score_loss",
        "score_init",
        "combination",
        "update_every",
        "update_end",
        "drop_fraction",
        "ablation",
        "rewind_epoch",
        "retrain",
        "retrain_epochs",
        "retrain_lr",
        "epochs",
        "steps",
        "batch_size",
        "optimizer",
        "lr",
        "lr_schedule",
        "lr_drops",
        "lr_drop_factor",
        "warmup_epochs",
        "momentum",
        "nesterov",
        "weight_decay",
        "label_smoothing",
        "precision",
        "compile",
        "seed",
        "split_seed",
        "validation_fraction",
    }
)
# The fields that a rule, an optimizer or a learning-rate schedule may leave unread.
_OPTIONAL = (frozenset(AFTER_DENSE) - {"criterion", "sparsity"}).union(
    *(optimizer.reads for optimizer in OPTIMIZERS.values()),
    *(schedule.reads for schedule in LR_SCHEDULES.values()),
)
# The fields that are columns of results.
_COLUMNS = tuple(name for name in SCHEMAS["trials"].names if name in FIELDS)
# The columns that have the value that the study gives, in every trial: `Trial.of` does not replace it.
UNCHANGED_COLUMNS = tuple(name for name in _COLUMNS if name not in _OPTIONAL and name != "criterion")


@dataclass(frozen=True)
class Trial:
    """One run that prunes and trains: a config, and the names that follow from it."""

    config: Config

    @cached_property
    def id(self) -> str:
        """16 hex digits of the SHA-256 of the canonical config: equal configs have equal ids."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()[:16]

    @property
    def canonical(self) -> str:
        """The config and the protocol as JSON: sorted keys, defaults filled in, whole numbers as integers.

        A field that is newer than the protocol is left out if it has its default. Parameters of parts stand
        beside the fields, as `criterion.power`.
        """
        return _text(self.config, ())

    @property
    def arm(self) -> str:
        """The canonical config without seed and sparsity: trials of one arm are compared with each other."""
        return _text(self.config, ("seed", "sparsity"))

    @staticmethod
    def of(config: Config) -> "Trial":
        """The trial of a config, in which each irrelevant field has its default.

        Weights `torchvision` become the name of the file of the model's default weights.

        For example, sparsity 0 is the same dense run with any criterion, and the fields of scoring batches
        are irrelevant to a criterion that does not look at data.

        Raises:
            BadInput: the fields do not go together.
        """
        check(config)
        canonical = dict(irrelevant_fields(config))
        if config.sparsity == 0:
            canonical["criterion"] = rules.DENSE.name
        if config.weights == TORCHVISION:
            canonical["weights"] = weights.of_torchvision(config.model)
        changed = {name: value for name, value in canonical.items() if getattr(config, name) != value}
        if changed and config.parameters:
            # The parameters of a part that is not asked for any more are not either.
            changed["parameters"] = tuple(
                each for each in config.parameters if each[0].partition(".")[0] not in changed
            )
        return Trial(replace(config, **changed) if changed else config)

    @staticmethod
    def parse(text: str) -> "Trial":
        """The trial of a canonical config, such as the `config` column of a result."""
        fields = json.loads(text)
        fields.pop("protocol")
        own = sorted(name for name in fields if "." in name)
        return Trial(Config(parameters=tuple((name, fields.pop(name)) for name in own), **fields))

    @staticmethod
    def of_row(trial_id: str, text: str) -> "Trial | None":
        """The trial of a row; None: the row is of another version, and its trial cannot be run again.

        Args:
            trial_id: the column of the row.
            text: its column `config`.
        """
        try:
            trial = Trial.parse(text)
        except (TypeError, ValueError, LookupError):
            return None
        return trial if trial.id == trial_id else None

    def columns(self) -> dict[str, Any]:
        """The columns of a row of `trials` that identify the trial."""
        return {
            "trial_id": self.id,
            "protocol": _protocol(self.config),
            "config": self.canonical,
            "arm": self.arm,
            **{column: getattr(self.config, column) for column in _COLUMNS},
        }


def irrelevant_fields(config: Config) -> Mapping[str, Any]:
    """The fields that cannot change the outcome of a config, each with its default.

    These are the fields that neither its rule nor its optimizer nor its learning-rate schedule reads, those
    that are for another value of a field than it has, and the name of a loss that the task of the data set
    has anyway.
    """
    rule = rules.find(config.criterion) if config.sparsity else rules.DENSE
    optimized, scheduled = optimizer(config.optimizer), lr_schedule(config.lr_schedule)
    unread = _unread(rule.reads(config), optimized.reads, scheduled.reads)
    aside = {name for name, (field, value) in BESIDE.items() if getattr(config, field) != value}
    if not unread.keys() >= aside:
        unread = {**unread, **{name: FIELDS[name].default for name in aside}}
    task = catalog.task(config.dataset) if config.loss else None
    return {**unread, "loss": None} if task and TASKS[task].loss == config.loss else unread


@lru_cache(maxsize=1024)
def _unread(*read: Iterable[str]) -> Mapping[str, Any]:
    """The optional fields that are not read, each with its default."""
    unread = _OPTIONAL.difference(*read)
    return {name: field.default for name, field in FIELDS.items() if name in unread}


def _text(config: Config, without: tuple[str, ...]) -> str:
    """The config and the protocol as JSON, without some fields."""
    kind: Any = type(config)
    names, values = _fields(kind, without)
    fields = map(_json, names, values(config), _defaults(kind, without))
    # Not through the cache, in which 1 and true would be the same value of one name.
    own = (f"{json.dumps(name)}:{json.dumps(value)}" for name, value in config.parameters)
    return (
        "{"
        + ",".join(sorted([*filter(None, fields), *own, _json("protocol", _protocol(config), None)]))
        + "}"
    )


def _protocol(config: Config) -> int:
    newer = _WITH_NORMS.get(config.structure, PROTOCOL)
    return newer if newer == PROTOCOL or models.has_norms_alone(config.model) else PROTOCOL


@cache
def _fields(kind: type, without: tuple[str, ...]) -> tuple[tuple[str, ...], "attrgetter[Any]"]:
    fields = kind.__pydantic_fields__  # type: ignore[attr-defined]
    names = tuple(name for name in fields if name not in (*without, "parameters"))
    return names, attrgetter(*names)


@cache
def _defaults(kind: type, without: tuple[str, ...]) -> tuple[object, ...]:
    """For each field the value at which the text leaves it out; for fields of the protocol there is none."""
    fields = kind.__pydantic_fields__  # type: ignore[attr-defined]
    never = object()
    return tuple(
        never if name in _OF_PROTOCOL else fields[name].default for name in _fields(kind, without)[0]
    )


@lru_cache(maxsize=4096)
def _json(name: str, value: object, left_out: object) -> str:
    """A field of the canonical config as JSON; empty at the value at which the text leaves it out.

    Trials have most of their fields in common: the texts of these are made once.
    """
    if value == left_out:
        return ""
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    return f"{json.dumps(name)}:{json.dumps(number)}"
