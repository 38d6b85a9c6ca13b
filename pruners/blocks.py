"""The blocks of a network: parts that it runs through one after another, such as the layers of a decoder."""

from collections.abc import Iterable
from typing import NamedTuple

from torch import nn

# Modules that hold others in a row and compute nothing by themselves.
_ROWS = (nn.Sequential, nn.ModuleList)


class Block(NamedTuple):
    """A part of a network.

    Attributes:
        path: name of the module; the empty name is the network itself.
        layers: names of the prunable weights in it.
    """

    path: str
    layers: tuple[str, ...]


def in_blocks(model: nn.Module, layers: Iterable[str]) -> list[Block]:
    """The blocks that hold some weights, in the order in which the network has them.

    A block is a module of several weights that stands in a row of modules, as the layers of a decoder and the
    residual blocks of a ResNet do. A weight outside of such modules is a block of its own layer.

    Args:
        layers: names of weights; each is in one block.
    """
    names = list(layers)
    blocks = [Block(path, inside) for path in _paths(model, "", names) if (inside := _inside(path, names))]
    # A module that holds a weight beside others has a name that begins theirs.
    own = {name: name.rpartition(".")[0] for name in names}
    found = {name for block in blocks for name in block.layers}
    blocks += [Block(own[name], (name,)) for name in names if name not in found]
    order = {name: place for place, name in enumerate(names)}
    return sorted(blocks, key=lambda block: order[block.layers[0]])


def _paths(module: nn.Module, path: str, names: list[str]) -> list[str]:
    """The names of the blocks at a module and below it."""
    if path and not isinstance(module, _ROWS) and not _holds_row(module, path, names):
        return [path]
    return [
        each
        for name, child in module.named_children()
        for each in _paths(child, f"{path}.{name}".lstrip("."), names)
    ]


def _holds_row(module: nn.Module, path: str, names: list[str]) -> bool:
    """Whether a module holds a row of which an entry has several weights."""
    return any(
        isinstance(row, _ROWS)
        and any(len(_inside(f"{path}.{name}.{entry}", names)) > 1 for entry, _ in row.named_children())
        for name, row in module.named_modules()
        if row is not module
    )


def _inside(path: str, names: list[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name.startswith(f"{path}."))
