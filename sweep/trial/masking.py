"""Which weights of a network a config lets be pruned, and which parameters it trains afterwards."""

from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from typing import NamedTuple

import torch
from torch import Tensor, nn

import pruners
from pruners import compensation
from pruners.masks import total_kept
from sweep import rules
from sweep.config import Config
from sweep.errors import BadInput
from sweep.rules import spread
from sweep.seeds import derive
from sweep.store.weights import label


def excluded(config: Config, model: nn.Module) -> list[str]:
    """The names of the prunable weights that `layers` does not choose.

    `layers` chooses the names that match one of its patterns, and none of its patterns after a '!'.

    Raises:
        BadInput: `layers` chooses no weight, or one of its patterns matches none.
    """
    names = list(pruners.prunable(model))
    patterns = config.layers.split()
    for pattern in patterns:
        if not _matches(names, pattern.lstrip("!")):
            raise BadInput(
                f"layers {pattern}: {config.model} has no such prunable weight; it has {', '.join(names)}"
            )
    include = [pattern for pattern in patterns if not pattern.startswith("!")] or ["*"]
    exclude = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    chosen = _matches(names, *include) - _matches(names, *exclude)
    if not chosen:
        raise BadInput(f"layers {config.layers}: this leaves nothing to prune in {config.model}")
    return [name for name in names if name not in chosen]


def start(config: Config, model: nn.Module) -> pruners.Masks | None:
    """The masks of a sparse start; None: the start is dense.

    `keep_mask` keeps the prunable weights that are not exactly 0, `initial_sparsity` random ones.

    Raises:
        BadInput: they keep fewer weights than the sparsity does, or the initial scope has no such masks.
    """
    if config.initial_sparsity:
        return _random_start(config, model)
    if not config.keep_mask:
        return None
    masks = {name: weight.detach() != 0 for name, weight in pruners.prunable(model).items()}
    total = sum(mask.numel() for mask in masks.values())
    kept, asked = total_kept(masks.values()), pruners.kept_count(total, config.sparsity)
    if kept < asked:
        raise BadInput(
            f"keep_mask: weights {label(config.weights or '')} keep {kept} of {total} weights, "
            f"and sparsity {config.sparsity:g} keeps {asked}: ask for a higher sparsity"
        )
    return masks


def _random_start(config: Config, model: nn.Module) -> pruners.Masks:
    try:
        return pruners.prune(
            "random",
            model,
            sparsity=config.initial_sparsity,
            scope=config.initial_scope,
            seed=derive(config.roots.mask, "initial"),
            exclude=excluded(config, model),
            min_per_layer=config.min_per_layer,
        )
    except ValueError as error:
        raise BadInput(f"{config.model}: initial_sparsity: {error}") from None


def check_count(config: Config, masks: pruners.Masks) -> None:
    """Raise `BadInput` if masks after a sparse start keep fewer weights than the sparsity does."""
    total = sum(mask.numel() for mask in masks.values())
    if total_kept(masks.values()) < pruners.kept_count(total, config.sparsity):
        field = "keep_mask" if config.keep_mask else "initial_sparsity"
        raise BadInput(
            f"{field}: scope {config.scope} asks a layer for more weights than it starts with: take global"
        )


def _matches(names: Iterable[str], *patterns: str) -> set[str]:
    """The names that match one of some patterns."""
    return {name for name in names if any(fnmatch(name, pattern) for pattern in patterns)}


def units(
    config: Config, model: nn.Module, exclude: Iterable[str], example: Tensor
) -> list[pruners.UnitGroup]:
    """The units of the config's structure, group by group; none for single weights.

    Args:
        example: one batch of inputs, of which only the shape matters.

    Raises:
        BadInput: the network has no such units.
    """
    try:
        return pruners.find_units(config.structure, model, example, exclude)
    except ValueError as error:
        raise BadInput(f"{config.model}: {error}") from None


class Retrained(NamedTuple):
    """What is trained after pruning.

    Attributes:
        trains: whether a parameter of a name is trained, by itself or by adapters; None: all are.
        adapted: names of the weights that low-rank adapters train.
    """

    trains: Callable[[str], bool] | None
    adapted: frozenset[str] = frozenset()


def retrained(config: Config, model: nn.Module) -> Retrained:
    """What is trained after pruning (Zimmer et al. 2023, PERP).

    Raises:
        BadInput: the network has none of the parameters that the config trains.
    """
    normalization = {
        f"{path}.{leaf}"
        for path, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm | nn.RMSNorm)
        for leaf, _ in module.named_parameters(recurse=False)
    }
    weights = frozenset(pruners.prunable(model))
    head = list(pruners.prunable(model))[-1].rpartition(".")[0]

    def bias(name: str) -> bool:
        leaf = name.rpartition(".")[2]
        return leaf.endswith("bias") or leaf.startswith("bias_")

    def small(name: str) -> bool:
        return name in normalization or bias(name)

    found = {
        "all": Retrained(None),
        "bn": Retrained(normalization.__contains__),
        "bias": Retrained(bias),
        "bn+bias": Retrained(small),
        "head": Retrained(lambda name: name.startswith(f"{head}.")),
        "lora": Retrained(lambda name: name in weights or small(name), weights),
    }[config.retrain]
    test = found.trains
    if test and not any(test(name) for name, p in model.named_parameters() if p.requires_grad):
        raise BadInput(f"retrain {config.retrain}: {config.model} has no such parameters")
    return found


def added_biases(config: Config, model: nn.Module, exclude: list[str]) -> dict[str, Tensor]:
    """The biases that layers get for the config's compensation, each 0: name → (outputs,).

    Raises:
        BadInput: a layer can have none.
    """
    try:
        return compensation.blank(config.compensate, model, pruners.prunable(model, exclude))
    except ValueError as error:
        raise BadInput(f"compensate {config.compensate} with {config.model}: {error}") from None


def check(config: Config, model: nn.Module, example: Tensor) -> None:
    """Check that the model has the layers, the parameters and the masks that the config names.

    Args:
        example: one batch of inputs, of which only the shape matters.

    Raises:
        BadInput: it does not.
    """
    exclude = excluded(config, model)
    retrained(config, model)
    found = units(config, model, exclude, example)
    rules.find(config.criterion).check(config, model, exclude, found)
    if config.initial_sparsity:
        # Whatever scores the weights, the scope and the start say how many are left.
        check_count(config, spread.drawn(config, model, exclude, found, start(config, model)))
    check_target(config, model, example)
    if config.sparsity:
        added_biases(config, model, exclude)


def check_target(config: Config, model: nn.Module, example: Tensor) -> None:
    """Check that the weights that the sparsity counts can be told.

    Args:
        example: one batch of inputs, of which only the shape matters.

    Raises:
        BadInput: effective masks are not worked out for the model.
    """
    if config.target != "effective":
        return
    full = {
        name: torch.ones_like(weight, dtype=torch.bool) for name, weight in pruners.prunable(model).items()
    }
    try:
        pruners.effective_masks(model, full, example)
    except ValueError as error:
        raise BadInput(f"target effective with {config.model}: {error}") from None
