"""How the kept weights of a trial spread over the layers of its network."""

from fnmatch import fnmatch

from torch import nn

import pruners
from pruners.scopes import Scope
from sweep.config import Config
from sweep.errors import BadInput
from sweep.names import density_pairs


def scope(config: Config, model: nn.Module, exclude: list[str]) -> Scope:
    """The scope of a config: its name, or layer → density where the config gives densities.

    Args:
        exclude: names of the prunable weights that `layers` does not choose.

    Raises:
        BadInput: a layer has no density, or a pattern is of no layer.
    """
    if config.densities is None:
        return config.scope
    pairs, found = density_pairs(config.densities), {}
    for layer in pruners.prunable(model, exclude):
        matching = [pattern for pattern in pairs if fnmatch(layer, pattern)]
        if not matching:
            raise BadInput(
                f"densities: {layer} of {config.model} has none: add its pattern, or '*=0.1' for all others"
            )
        found[layer] = matching[0]
    if unused := [pattern for pattern in pairs if pattern not in found.values()]:
        raise BadInput(
            f"densities {unused[0]}: no layer of {config.model} is left for it, as the first pattern that "
            f"matches counts; the layers are {', '.join(found)}"
        )
    return {layer: pairs[pattern] for layer, pattern in found.items()}


def drawn(
    config: Config,
    model: nn.Module,
    exclude: list[str],
    units: pruners.Units,
    start: pruners.Masks | None = None,
) -> pruners.Masks:
    """Masks as a config asks for, of drawn weights or units: scores do not decide whether there are any.

    Args:
        exclude: names of the prunable weights that `layers` does not choose.
        units: of the config's structure in the network; none for single weights.
        start: masks of a sparse start; None: the start is dense.

    Raises:
        ValueError: there are no such masks.
    """
    asked = scope(config, model, exclude)
    if isinstance(asked, str) and asked in pruners.BUDGETS:
        asked = "uniform"  # it stands for what only a network on data can say
    steps = pruners.trajectory(
        "random",
        model,
        sparsity=config.sparsity,
        scope=asked,
        exclude=exclude,
        min_per_layer=config.min_per_layer,
        structure=config.structure,
        units=units,
        start=start,
        score_order=config.score_order,
    )
    return next(steps).masks
