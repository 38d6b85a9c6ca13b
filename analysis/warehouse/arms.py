"""Names of arms (how the mask was chosen) and of their settings (data, model, training)."""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sweep.arms import Fields, differing, is_among, names, place, shared, told_apart
from sweep.config import AFTER_DENSE, CHOICE, DENSE

__all__ = ["AFTER_DENSE", "CHOICE", "Label", "label", "without"]

# A procedure that has changed for some arms: a label names it only where nothing else tells arms apart.
_PROTOCOL = "protocol"
# Fields that every label names. It names others only where they differ.
_ALWAYS = ("dataset", "model", "epochs", "prune_epoch", "prune_when")


@dataclass(frozen=True)
class Label:
    """The name of an arm. No two arms have the same setting and name.

    Attributes:
        setting: data, model, training: the same for all arms that are compared.
        name: how the mask was chosen, in the fewest words that are unique within the setting.
        dense: nothing was pruned.
    """

    setting: str
    name: str
    dense: bool


def label(arms: Iterable[str], choice: Collection[str] = CHOICE) -> dict[str, Label]:
    """The labels of arms.

    Fields with more than one value are named. Two arms that differ in other fields than the choice get
    settings with different names, unless one arm is dense.

    Args:
        arms: each as the JSON of its config, without seed and sparsity and maybe without other fields.
        choice: the fields that are compared. The other fields make the setting.
    """
    configs = {arm: json.loads(arm) for arm in dict.fromkeys(arms)}
    dense = {arm: config.get("criterion") == DENSE for arm, config in configs.items()}
    pruned = [config for arm, config in configs.items() if not dense[arm]] or list(configs.values())
    every = {name for config in pruned for name in config}
    others = sorted(
        name for name in every if not is_among(name, (*CHOICE, *_ALWAYS, _PROTOCOL)) or _is_of_place(name)
    )
    also = {*differing(others, pruned), *_differing_where_known(others, configs.values())}
    settings, rests = {}, {}
    for arm, config in configs.items():
        unsaid = {*choice, *(AFTER_DENSE if dense[arm] else ())}
        rests[arm] = {name: value for name, value in config.items() if not is_among(name, unsaid)}
        text = place({name: value for name, value in config.items() if not is_among(name, choice)})
        named = [name for name in others if name in also and name in rests[arm] and name != "steps"]
        settings[arm] = text + "".join(f", {name} {config[name]}" for name in named)
    # A dense network may share the name of a setting, beside the pruned networks there. Two dense or two
    # pruned arms that differ may not.
    for alike in shared({arm: (settings[arm], dense[arm]) for arm in configs}):
        for arm, words in told_apart({arm: rests[arm] for arm in alike}).items():
            settings[arm] += "".join(f", {word}" for word in words)
    called = names(configs, settings)
    return {arm: Label(settings[arm], called[arm], dense[arm]) for arm in configs}


def without(arm: str, fields: Collection[str]) -> str:
    """An arm's config without some fields, as JSON: equal texts for equal configs."""
    return json.dumps({k: v for k, v in json.loads(arm).items() if not is_among(k, fields)}, sort_keys=True)


def _is_of_place(name: str) -> bool:
    """Whether a key is a parameter of the data set or the model, which every label names without it."""
    return "." in name and is_among(name, _ALWAYS)


def _differing_where_known(fields: Iterable[str], among: Iterable[Fields]) -> list[str]:
    """Fields that a dense network depends on too, with several values among the configs that have them."""
    configs = list(among)
    trained = (name for name in fields if not is_among(name, AFTER_DENSE))
    return [name for name in trained if differing([name], (config for config in configs if name in config))]
