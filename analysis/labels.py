"""Names of what was compared: an arm (how the mask was chosen), and the setting it was tested in."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

Fields = dict[str, Any]
# Fields of a config that say how the mask is chosen; the others are the setting in which it is tested.
CHOICE = (
    *("criterion", "scope", "iterations", "schedule", "min_per_layer", "balanced", "combination"),
    *("score_batches", "score_batch_size", "score_mode", "score_loss", "score_init"),
    *("update_every", "update_end", "drop_fraction"),
)
# Those that a dense network does not depend on either: when the others are pruned, and what comes then.
AFTER_DENSE = (
    *CHOICE,
    *("prune_epoch", "rewind_epoch", "retrain", "retrain_epochs", "retrain_lr"),
    *("ablation", "layers", "structure"),
)
# Named in every label; the others only where they differ.
_ALWAYS = ("dataset", "model", "epochs", "prune_epoch")


@dataclass(frozen=True)
class Label:
    """What an arm is called.

    Attributes:
        setting: data, model, training: what is the same for all that are compared.
        name: how the mask was chosen, as short as it can be told from the others of the setting.
        dense: nothing was pruned.
    """

    setting: str
    name: str
    dense: bool


def label(arms: Iterable[str], choice: Collection[str] = CHOICE) -> dict[str, Label]:
    """The labels of arms, each given as the JSON of its config less seed and sparsity.

    A field that is not always named is named where it takes more than one value.

    Args:
        choice: the fields that are compared; with the rest, the setting.
    """
    configs = {arm: json.loads(arm) for arm in dict.fromkeys(arms)}
    pruned = [config for config in configs.values() if config["criterion"] != "dense"] or list(
        configs.values()
    )
    others = sorted({name for config in pruned for name in config} - {*CHOICE, *_ALWAYS})
    also = {*_varying(others, pruned), *_varying_where_known(others, configs.values())}
    settings = {}
    for arm, config in configs.items():
        length = f"{config['epochs']} epochs" if config.get("epochs") else f"{config.get('steps')} steps"
        text = f"{config['dataset']}, {config['model']}, {length}"
        if "prune_epoch" not in choice:
            text += f", pruned at epoch {config['prune_epoch']}"
        unsaid = {*choice, "steps", *(AFTER_DENSE if config["criterion"] == "dense" else ())}
        named = [name for name in others if name in also and name in config and name not in unsaid]
        settings[arm] = text + "".join(f", {name} {config[name]}" for name in named)
    alike: dict[tuple[str, str], list[Fields]] = defaultdict(list)
    for arm, config in configs.items():
        alike[settings[arm], short(config)].append(config)
    differing = {
        key: _varying([n for n in (*CHOICE, "prune_epoch") if n in choice], among)
        for key, among in alike.items()
    }
    return {
        arm: Label(
            settings[arm],
            " ".join(
                [
                    short(config),
                    *(
                        f"{n}={config.get(n)}"
                        for n in differing[settings[arm], short(config)]
                        if n != "iterations"
                    ),
                ]
            ),
            config["criterion"] == "dense",
        )
        for arm, config in configs.items()
    }


def short(config: Fields) -> str:
    """A short name: `snip`, `random erk`, `force T=20`."""
    words = [config["criterion"]]
    if config["scope"] != "global" or config["criterion"] == "random":
        words.append(config["scope"])
    if config["iterations"] > 1:
        words.append(f"T={config['iterations']}")
    return " ".join(words)


def without(arm: str, fields: Collection[str]) -> str:
    """An arm's config less some fields, as text that is equal for equal rests."""
    return json.dumps({k: v for k, v in json.loads(arm).items() if k not in fields}, sort_keys=True)


def _varying(fields: Iterable[str], among: Iterable[Fields]) -> list[str]:
    among = list(among)
    return [name for name in fields if len({json.dumps(config.get(name)) for config in among}) > 1]


def _varying_where_known(fields: Iterable[str], among: Iterable[Fields]) -> list[str]:
    """Fields that the dense network too depends on, with several values among the configs that have them."""
    trained = (name for name in fields if name not in AFTER_DENSE)
    return [name for name in trained if _varying([name], (config for config in among if name in config))]
