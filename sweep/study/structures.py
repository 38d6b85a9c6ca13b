"""Which fields of a config do not go with its structure."""

from collections.abc import Iterator

import pruners
from sweep import rules
from sweep.config import Config
from sweep.rules import once


def problems(config: Config) -> Iterator[tuple[str, str]]:
    """A field to correct, and the message that says why, for each that does not go with the structure."""
    name = config.structure
    structure = pruners.STRUCTURES[name]
    if config.ablation == "shuffle" and structure.find:
        yield "ablation", "ablation shuffle permutes single weights: leave out structure"
    if why := structure.refusal(config.scope):
        yield "scope", why
    if structure.weighed and config.sparsity and not rules.find(config.criterion).scores:
        yield (
            "structure",
            f"structure {name}: its units are counted by weights once, and {config.criterion} counts units: "
            "take a criterion",
        )
    if structure.find and not structure.read and config.sparsity and _of_inputs(config):
        known = ", ".join(name for name, each in pruners.STRUCTURES.items() if each.find and each.read)
        yield (
            "structure",
            f"structure {name}: no weight reads its units alone, by which {config.criterion} ranks: "
            f"take one of {known}",
        )
    if structure.criterion and config.criterion != structure.criterion and config.sparsity:
        yield (
            "criterion",
            f"structure {name} keeps the first units of each group, whatever their scores: "
            f"give it criterion {structure.criterion}",
        )
    if structure.criterion and config.ablation == "invert":
        yield "ablation", f"ablation invert with structure {name}: no scores rank its units: leave it out"
    if structure.find and structure.unit_scores and config.unit_score not in structure.unit_scores:
        known = " or ".join(structure.unit_scores)
        yield "unit_score", f"unit_score {config.unit_score} with structure {name}: take {known}"


def _of_inputs(config: Config) -> bool:
    """Whether a criterion scores units by the weights that read them."""
    return rules.find(config.criterion).scores and once.criterion(config.criterion).reads
