"""Names of what was compared: an arm (how the mask was chosen), and the setting it was tested in."""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sweep.arms import Fields, differing, names, place, shared, told_apart
from sweep.config import AFTER_DENSE, CHOICE

__all__ = ["AFTER_DENSE", "CHOICE", "Label", "label", "without"]

# Named in every label; the others only where they differ.
_ALWAYS = ("dataset", "model", "epochs", "prune_epoch")


@dataclass(frozen=True)
class Label:
    """What an arm is called. No two arms are called the same.

    Attributes:
        setting: data, model, training: what is the same for all that are compared.
        name: how the mask was chosen, as short as it can be told from the others of the setting.
        dense: nothing was pruned.
    """

    setting: str
    name: str
    dense: bool


def label(arms: Iterable[str], choice: Collection[str] = CHOICE) -> dict[str, Label]:
    """The labels of arms, each given as the JSON of its config less seed, sparsity and maybe other fields.

    A field that is not always named is named where it takes more than one value. Arms that differ in anything
    beside the choice are in settings that are called otherwise, unless one is dense.

    Args:
        choice: the fields that are compared; with the rest, the setting.
    """
    configs = {arm: json.loads(arm) for arm in dict.fromkeys(arms)}
    dense = {arm: config.get("criterion") == "dense" for arm, config in configs.items()}
    pruned = [config for arm, config in configs.items() if not dense[arm]] or list(configs.values())
    others = sorted({name for config in pruned for name in config} - {*CHOICE, *_ALWAYS})
    also = {*differing(others, pruned), *_differing_where_known(others, configs.values())}
    settings, rests = {}, {}
    for arm, config in configs.items():
        unsaid = {*choice, *(AFTER_DENSE if dense[arm] else ())}
        rests[arm] = {name: value for name, value in config.items() if name not in unsaid}
        text = place({name: value for name, value in config.items() if name not in choice})
        named = [name for name in others if name in also and name in rests[arm] and name != "steps"]
        settings[arm] = text + "".join(f", {name} {config[name]}" for name in named)
    # Dense networks are named as the setting is in which they stand beside the others.
    for alike in shared({arm: (settings[arm], dense[arm]) for arm in configs}):
        for arm, words in told_apart({arm: rests[arm] for arm in alike}).items():
            settings[arm] += "".join(f", {word}" for word in words)
    called = names(configs, settings)
    return {arm: Label(settings[arm], called[arm], dense[arm]) for arm in configs}


def without(arm: str, fields: Collection[str]) -> str:
    """An arm's config less some fields, as text that is equal for equal rests."""
    return json.dumps({k: v for k, v in json.loads(arm).items() if k not in fields}, sort_keys=True)


def _differing_where_known(fields: Iterable[str], among: Iterable[Fields]) -> list[str]:
    """Fields that the dense network too depends on, with several values among the configs that have them."""
    configs = list(among)
    trained = (name for name in fields if name not in AFTER_DENSE)
    return [name for name in trained if differing([name], (config for config in configs if name in config))]
