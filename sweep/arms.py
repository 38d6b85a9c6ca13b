"""Arms: configs without seed and sparsity, by which trials are compared; and short names for them."""

import json
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any, TypeVar

from sweep.config import CHOICE, FIELDS

K = TypeVar("K", bound=Hashable)
Fields = Mapping[str, Any]


def short(config: Fields) -> str:
    """A short name for how the mask is chosen, from its fields: `snip`, `random erk`, `force T=20`.

    The code that a part of one's own is of is left out.
    """
    criterion, scope = (config.get("criterion") or "").partition("@")[0], config.get("scope")
    words = [
        word for word in (criterion, scope if scope != "global" or criterion == "random" else "") if word
    ]
    if (config.get("iterations") or 1) > 1:
        words.append(f"T={config['iterations']}")
    return " ".join(words) or "all"


def called(config: Fields) -> list[str]:
    """The names by which commands and questions know an arm, from its criterion and scope: `random:erk`.

    A part of one's own can be named without the code that it is of.
    """
    criterion, scope = str(config["criterion"]), config["scope"]
    short_names = dict.fromkeys([criterion.partition("@")[0], criterion])
    return [*short_names, *(f"{name}:{scope}" for name in short_names)]


def apart(*configs: Fields) -> list[str]:
    """The fields in which configs differ, by name; to lack a field counts as a value."""
    return differing(sorted({name for config in configs for name in config}), configs)


def is_among(name: str, fields: Collection[str]) -> bool:
    """Whether a key of a config is one of some fields, or a parameter of a part that one of them names."""
    return name.partition(".")[0] in fields


def listed(fields: Fields) -> str:
    """Fields with their values, real numbers with four digits: `criterion=snip lr=0.1155`."""
    return " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in fields.items()
    )


def place(config: Fields) -> str:
    """The main fields of a setting: `digits, conv-5, 3 epochs, pruned at epoch 0`."""
    words = [config[name] for name in ("dataset", "model") if config.get(name)]
    lengths = [(config[name], name) for name in ("epochs", "steps") if config.get(name)]
    words += [f"{length} {name.removesuffix('s') if length == 1 else name}" for length, name in lengths[:1]]
    if "prune_epoch" in config:
        when = config.get("prune_when")
        at = f"when {when}, at the latest at epoch" if when else "at epoch"
        words.append(f"pruned {at} {config['prune_epoch']}")
    return ", ".join(words)


def differing(fields: Iterable[str], configs: Iterable[Fields]) -> list[str]:
    """The fields in which the configs differ; to lack a field counts as a value."""
    every = list(configs)
    return [
        name
        for name in fields
        if len({json.dumps(config[name]) if name in config else "" for config in every}) > 1
    ]


def names(configs: Mapping[K, Fields], places: Mapping[K, Hashable]) -> dict[K, str]:
    """Key → short name, unique within its place: where names collide, the differing fields are added.

    Args:
        configs: key → config.
        places: key → the place within which its name must be unique.
    """
    unique = {key: short(config) for key, config in configs.items()}
    for alike in shared({key: (places[key], name) for key, name in unique.items()}):
        for key, words in told_apart({key: configs[key] for key in alike}).items():
            unique[key] = " ".join([unique[key], *words]).replace(f" criterion={unique[key]}@", "@")
    return unique


def shared(named: Mapping[K, Hashable]) -> list[list[K]]:
    """Keys that have the same name, grouped by name; names of a single key are left out."""
    keys: dict[Hashable, list[K]] = defaultdict(list)
    for key, name in named.items():
        keys[name].append(key)
    return [group for group in keys.values() if len(group) > 1]


def told_apart(configs: Mapping[K, Fields]) -> dict[K, list[str]]:
    """Key → the fields in which the configs differ, each with the config's value.

    A field that a config lacks has its default, unless another config says so and differs in nothing else.
    """
    in_order = dict.fromkeys([*CHOICE, *sorted({name for config in configs.values() for name in config})])
    fields = differing(in_order, configs.values())
    # Arms of another protocol mostly differ in what it is about, which says more.
    brief = [name for name in fields if name != "protocol"]
    words: dict[K, list[str]] = {}
    for chosen, filled in ((brief, True), (fields, True), (fields, False)):
        words = {key: [_said(config, name, filled) for name in chosen] for key, config in configs.items()}
        if len(set(map(tuple, words.values()))) == len(words):
            break
    return words


def _said(config: Fields, name: str, filled: bool) -> str:
    """A field of a config in words.

    Args:
        filled: a field that the config lacks has its default, if it has one.
    """
    if name in config:
        return f"{name}={config[name]}"
    known = filled and name in FIELDS and not FIELDS[name].is_required()
    return f"{name}={FIELDS[name].default}" if known else f"no {name}"
