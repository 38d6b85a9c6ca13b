"""A trial's network, and the columns that say what a mask makes of it."""

from collections.abc import Mapping

from torch import Tensor, nn

import pruners
from pruners.masks import total_kept
from sweep import models
from sweep.config import Config
from sweep.data import Data
from sweep.seeds import derive


def built(config: Config, data: Data, root: int, stream: str) -> nn.Module:
    """The config's network with weights drawn from the named stream of a seed, where the data are."""
    seed = derive(root, stream)
    return models.build(config.model, data.shape, data.classes, seed, config.init).to(data.mean.device)


def facts(
    model: nn.Module, masks: Mapping[str, Tensor], macs: Mapping[str, int], example: Tensor
) -> tuple[dict[str, object], dict[str, Tensor] | None]:
    """The `network` columns of a trial, and its effective masks. `params` counts the prunable weights.

    Of a network that `pruners.effective_masks` cannot look through there are none: what it says is unknown.
    """
    try:
        effective = pruners.effective_masks(model, masks, example)
    except ValueError:
        effective = None
    params = sum(mask.numel() for mask in masks.values())
    kept = total_kept(masks.values())
    density = pruners.densities(masks)
    return {
        "params": params,
        "kept": kept,
        "density": kept / params,
        "effective_density": effective and total_kept(effective.values()) / params,
        "collapsed_layers": len(pruners.collapsed_layers(masks)),
        "min_layer_density": min(density.values()),
        "macs_dense": sum(macs.values()),
        "macs_masked": sum(round(count * density.get(name, 1)) for name, count in macs.items()),
    }, effective
