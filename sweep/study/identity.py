"""What a trial is called: its canonical config, its id, its arm."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from operator import attrgetter
from typing import Any

from sweep import rules
from sweep.config import AFTER_DENSE, FIELDS, Config
from sweep.models.optimizers import LR_SCHEDULES, OPTIMIZERS
from sweep.store.schema import SCHEMAS
from sweep.study.consistency import check

# Part of every trial's identity: raise it when the same config would give other numbers.
PROTOCOL = 2
# The fields of protocol 2. A canonical config names these, and of all others those that differ from their
# defaults: a trial that leaves a later field at its default is the trial that it was before the field came.
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
# The fields that are columns of results.
_COLUMNS = tuple(name for name in SCHEMAS["trials"].names if name in FIELDS)
# The fields that a rule may leave unread.
_OF_RULES = frozenset(AFTER_DENSE) - {"criterion", "sparsity"}


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
        return _text(self.config, ())

    @property
    def arm(self) -> str:
        """The same less seed and sparsity: what trials have in common that answer one question together."""
        return _text(self.config, ("seed", "sparsity"))

    @staticmethod
    def of(config: Config) -> "Trial":
        """The trial of a config, after setting the fields that cannot matter to their defaults.

        Sparsity 0 is one dense run, whatever the criterion; criteria that look at no data do not care which.

        Raises:
            BadInput: its fields do not go together.
        """
        check(config)
        update = dict(moot(config))
        if config.sparsity == 0:
            update["criterion"] = rules.DENSE.name
        other = {name: value for name, value in update.items() if getattr(config, name) != value}
        return Trial(replace(config, **other) if other else config)

    @staticmethod
    def parse(text: str) -> "Trial":
        """The trial of a canonical config, such as the `config` column of a result."""
        fields = json.loads(text)
        fields.pop("protocol")
        return Trial(Config(**fields))

    def columns(self) -> dict[str, Any]:
        """The columns of a row that say which trial it is."""
        return {
            "trial_id": self.id,
            "protocol": PROTOCOL,
            "config": self.canonical,
            "arm": self.arm,
            **{column: getattr(self.config, column) for column in _COLUMNS},
        }


def moot(config: Config) -> Mapping[str, Any]:
    """The fields that cannot matter to this config's outcome, each with its default.

    They are those that neither its rule nor its optimizer nor its learning-rate schedule reads.
    """
    rule = rules.find(config.criterion) if config.sparsity else rules.DENSE
    read = rule.reads(config)
    return _unread(read, OPTIMIZERS[config.optimizer].reads, LR_SCHEDULES[config.lr_schedule].reads)


@lru_cache(maxsize=1024)
def _unread(*read: Iterable[str]) -> Mapping[str, Any]:
    tables: tuple[Mapping[str, Any], ...] = (OPTIMIZERS, LR_SCHEDULES)
    possible = [_OF_RULES, *({field for one in table.values() for field in one.reads} for table in tables)]
    unread = set().union(*possible).difference(*read)
    return {name: field.default for name, field in FIELDS.items() if name in unread}


def _text(config: Config, without: tuple[str, ...]) -> str:
    """The config as JSON, less some fields."""
    kind: Any = type(config)
    names, values = _fields(kind, without)
    fields = map(_json, names, values(config), _defaults(kind, without))
    return "{" + ",".join(sorted([*filter(None, fields), _json("protocol", PROTOCOL, None)])) + "}"


@cache
def _fields(kind: type, without: tuple[str, ...]) -> tuple[tuple[str, ...], "attrgetter[Any]"]:
    names = tuple(name for name in kind.__pydantic_fields__ if name not in without)  # type: ignore[attr-defined]
    return names, attrgetter(*names)


@cache
def _defaults(kind: type, without: tuple[str, ...]) -> tuple[object, ...]:
    """What each field may have so that the text does not name it; for fields of the protocol nothing."""
    fields = kind.__pydantic_fields__  # type: ignore[attr-defined]
    always = object()
    return tuple(
        always if name in _OF_PROTOCOL else fields[name].default for name in _fields(kind, without)[0]
    )


@lru_cache(maxsize=4096)
def _json(name: str, value: object, unsaid: object) -> str:
    """A field of the canonical config, or nothing: trials have most of theirs in common."""
    if value == unsaid:
        return ""
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    return f"{json.dumps(name)}:{json.dumps(whole)}"
