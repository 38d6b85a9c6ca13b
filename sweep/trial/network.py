"""A trial's network, and the columns of results that describe it."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

import pruners
from pruners.masks import total_kept
from sweep import models
from sweep.config import Config
from sweep.data import Data
from sweep.errors import BadInput
from sweep.models import weights
from sweep.models.weights import State
from sweep.seeds import derive
from sweep.trial.watch import watched


def built(config: Config, data: Data, root: int, stream: str) -> nn.Module:
    """The config's network on the device of the data.

    Args:
        root: the seed from which the stream is derived.
        stream: the stream that the initial weights are drawn from.
    """
    seed = derive(root, stream)
    form = data.form
    model = models.build(
        config.model,
        form.shape,
        data.classes,
        seed,
        config.init,
        dtype=form.dtype,
        arguments=config.arguments("model"),
        init_arguments=config.arguments("init"),
    )
    return watched(model.to(data.device), config.model, data.task, data.classes)


def initial(config: Config, data: Data, trained: Callable[[str], State] | None) -> nn.Module:
    """The network that the config's training starts from: with random weights, or with trained ones.

    Args:
        trained: gives the trained weights of a name; None: there are none.

    Raises:
        BadInput: the trained weights are not here, or are no weights of this network.
    """
    model = built(config, data, config.roots.init, "init")
    if config.weights:
        if not trained:
            raise BadInput(f"weights {config.weights}: not here: launch the study that names them")
        weights.load(model, config.weights, trained(config.weights))
    return model


def example(data: Data) -> Tensor:
    """One training input as the network takes it, (1, ...)."""
    return data.inputs(data.train.take(torch.arange(1)).images)


def columns(
    model: nn.Module, masks: Mapping[str, Tensor], macs: Mapping[str, int], example: Tensor
) -> tuple[dict[str, object], dict[str, Tensor] | None]:
    """The columns of `trials` that describe a masked network, and the effective masks.

    `pruners.cost` is no substitute: it refuses networks that `pruners.effective_masks` refuses, and it counts
    multiply-adds at each call. Here they are counted once for all networks of a name.

    Args:
        masks: of the weights that may be pruned.
        macs: name of each prunable weight → multiply-adds in a forward pass of one image, unmasked.
        example: one batch of inputs.

    Returns:
        The columns, where `params` counts the weights that may be pruned. The effective masks, and the column
        of their density, are None for a network that `pruners.effective_masks` refuses.
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


def pq_index(model: nn.Module, masks: Mapping[str, Tensor], removed: int) -> float | None:
    """The PQ index of all prunable weights that are not pruned, those that `layers` leaves out included.

    Args:
        masks: that are not on yet; empty: the pruned weights are 0.
        removed: how many weights are pruned.
    """
    weights = pruners.prunable(model)
    masked = (
        weight.detach().masked_fill(~masks[name], 0) if name in masks else weight
        for name, weight in weights.items()
    )
    return pruners.pq_index_of(masked, sum(map(Tensor.numel, weights.values())) - removed)
