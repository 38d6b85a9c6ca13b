"""What trials are compared as: an arm (a config less seed and sparsity), and how its mask is chosen."""

import json
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, TypeVar

from sweep.config import CHOICE

K = TypeVar("K", bound=Hashable)
Fields = Mapping[str, Any]


def short(config: Fields) -> str:
    """A short name of the choice, of the fields that are known: `snip`, `random erk`, `force T=20`."""
    criterion, scope = config.get("criterion"), config.get("scope")
    words = [
        word for word in (criterion, scope if scope != "global" or criterion == "random" else "") if word
    ]
    if (config.get("iterations") or 1) > 1:
        words.append(f"T={config['iterations']}")
    return " ".join(words) or "all"


def listed(fields: Fields) -> str:
    """Fields with their values, numbers with four digits: `criterion=snip lr=0.1155`."""
    return " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in fields.items()
    )


def place(config: Fields) -> str:
    """What every setting is known by: `digits, conv-5, 3 epochs, pruned at epoch 0`."""
    words = [config[name] for name in ("dataset", "model") if config.get(name)]
    lengths = [(config[name], name) for name in ("epochs", "steps") if config.get(name)]
    words += [f"{length} {name.removesuffix('s') if length == 1 else name}" for length, name in lengths[:1]]
    if "prune_epoch" in config:
        words.append(f"pruned at epoch {config['prune_epoch']}")
    return ", ".join(words)


def differing(fields: Iterable[str], configs: Iterable[Fields]) -> list[str]:
    """The fields of which configs have several values; to have none is a value too."""
    among = list(configs)
    return [
        name
        for name in fields
        if len({json.dumps(config[name]) if name in config else "" for config in among}) > 1
    ]


def names(configs: Mapping[K, Fields], places: Mapping[K, Hashable]) -> dict[K, str]:
    """The short name of each; with the fields that differ, where others of its place have it too."""
    found = {key: short(config) for key, config in configs.items()}
    for alike in shared({key: (places[key], name) for key, name in found.items()}):
        for key, words in told_apart({key: configs[key] for key in alike}).items():
            found[key] = " ".join([found[key], *words])
    return found


def shared(known: Mapping[K, Hashable]) -> list[list[K]]:
    """Those that have one name, of each name that several have."""
    found: dict[Hashable, list[K]] = defaultdict(list)
    for key, name in known.items():
        found[name].append(key)
    return [keys for keys in found.values() if len(keys) > 1]


def told_apart(configs: Mapping[K, Fields]) -> dict[K, list[str]]:
    """The fields in which configs differ, each with its value: nothing where they are the same."""
    known = dict.fromkeys([*CHOICE, *sorted({name for config in configs.values() for name in config})])
    fields = differing(known, configs.values())
    return {
        key: [f"{name}={config[name]}" if name in config else f"no {name}" for name in fields]
        for key, config in configs.items()
    }
