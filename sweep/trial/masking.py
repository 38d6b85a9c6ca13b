"""Which weights a trial's config keeps, at the moment of pruning."""

from collections.abc import Callable
from fnmatch import fnmatch

from torch import Tensor, nn

import pruners
from sweep import rules
from sweep.config import Config
from sweep.errors import BadInput

Masks = dict[str, Tensor]


def left_out(config: Config, model: nn.Module) -> list[str]:
    """Names of the prunable weights that `layers` does not choose: its patterns, less those after a '!'.

    Raises:
        BadInput: it chooses none, or a pattern fits none.
    """
    names = list(pruners.prunable(model))
    words = config.layers.split()
    for word in words:
        if not any(fnmatch(name, word.lstrip("!")) for name in names):
            raise BadInput(
                f"layers {word}: {config.model} has no such prunable weight; it has {', '.join(names)}"
            )
    wanted = [word for word in words if not word.startswith("!")] or ["*"]
    unwanted = [word[1:] for word in words if word.startswith("!")]
    chosen = {
        name
        for name in names
        if any(fnmatch(name, word) for word in wanted) and not any(fnmatch(name, word) for word in unwanted)
    }
    if not chosen:
        raise BadInput(f"layers {config.layers}: this leaves nothing to prune in {config.model}")
    return [name for name in names if name not in chosen]


def biases(model: nn.Module, masks: Masks) -> Masks:
    """Masks of the biases of filters that are removed whole.

    A removed filter then adds nothing, but for what a BatchNorm behind it makes of zeros.
    """
    parameters = dict(model.named_parameters())
    found = {}
    for name, mask in masks.items():
        bias = parameters.get(f"{name.removesuffix('weight')}bias") if name.endswith("weight") else None
        if bias is not None and not (alive := mask.flatten(1).any(1)).all():
            found[f"{name.removesuffix('weight')}bias"] = alive
    return found


def retrained(config: Config, model: nn.Module) -> Callable[[str], bool] | None:
    """Which parameters are trained after pruning, as a test of their names; None: all.

    Zimmer et al. 2023 (PERP).

    Raises:
        BadInput: there are none such.
    """
    normalization = {
        f"{path}.{leaf}"
        for path, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm)
        for leaf, _ in module.named_parameters(recurse=False)
    }
    head = list(pruners.prunable(model))[-1].rpartition(".")[0]

    def bias(name: str) -> bool:
        leaf = name.rpartition(".")[2]
        return leaf.endswith("bias") or leaf.startswith("bias_")

    tests: dict[str, Callable[[str], bool] | None] = {
        "all": None,
        "bn": lambda name: name in normalization,
        "bias": bias,
        "bn+bias": lambda name: name in normalization or bias(name),
        "head": lambda name: name.startswith(f"{head}."),
    }
    test = tests[config.retrain]
    if test and not any(test(name) for name, p in model.named_parameters() if p.requires_grad):
        raise BadInput(f"retrain {config.retrain}: {config.model} has no such parameters")
    return test


def check(config: Config, model: nn.Module) -> None:
    """See that what the config says of the model's layers can be done.

    Raises:
        BadInput: it cannot.
    """
    exclude = left_out(config, model)
    retrained(config, model)
    rules.find(config.criterion).check(config, model, exclude)
