"""What a trial is called: its canonical config, its id, its arm."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import Any

import pruners
from sweep.study.config import ALONG, DENSE, FIELDS, PRUNING, RULES, SCORING, UPDATES, Config, all_but
from sweep.study.consistency import check

# Part of every trial's identity: raise it when the same config would give other numbers.
PROTOCOL = 2


# Fields that came after protocol 2. A trial that leaves one at its default is the trial that it was before
# there was such a field: the canonical config does not name it.
_LATER = frozenset({"init_seed", "order_seed", "mask_seed", "stratified"})


_ALL, _OF_ARM = all_but(), all_but("seed", "sparsity")


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
        names += [*PRUNING, *UPDATES, "combination", "mask_seed"]
    else:
        if config.criterion != "oracle":
            names += ["combination"]
        if config.criterion not in ALONG:
            names += UPDATES
        elif config.criterion == "gmp":
            names += ["drop_fraction"]
        if config.criterion in RULES:
            names += [*SCORING, "score_mode", "score_init"]
            if config.criterion not in ("set", "rigl"):
                names += ["mask_seed"]
        elif not pruners.find(config.criterion).needs_data:
            names += SCORING
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

    def columns(self) -> dict[str, Any]:
        """The columns of a row that say which trial it is."""
        config = self.config
        same = ("dataset", "model", "criterion", "scope", "sparsity", "iterations", "schedule", "prune_epoch")
        also = ("epochs", "steps", "structure", "retrain", "rewind_epoch", "ablation", "seed")
        return {
            "trial_id": self.id,
            "protocol": PROTOCOL,
            "config": self.canonical,
            "arm": self.arm,
            **{column: getattr(config, column) for column in (*same, *also)},
        }

    @staticmethod
    def parse(text: str) -> "Trial":
        """The trial of a canonical config, such as the `config` column of a result."""
        fields = json.loads(text)
        fields.pop("protocol")
        return Trial(Config(**fields))
