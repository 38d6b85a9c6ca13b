"""What an optimizer keeps of each parameter: whether a file has it, and what a smaller network has of it."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from sweep.errors import BadInput


def fits(optimizer: Optimizer, state: Mapping[str, Any], known: bool) -> bool:
    """Whether a state is of an optimizer like this one. The file of a state may have any content.

    Args:
        known: whether the optimizer keeps numbers of the shapes of its parameters, or single ones; what an
            optimizer of one's own keeps, only the optimizer knows.

    Raises:
        AttributeError, LookupError, TypeError, ValueError: it is no state of an optimizer.
    """
    own_groups = optimizer.state_dict()["param_groups"]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    groups, moments = state["param_groups"], state["state"]
    shapes = [
        value.shape in (parameters[index].shape, ())
        for index, values in (moments if known else {}).items()
        for value in values.values()
        if value is not None
    ]
    same_groups = [
        (group.keys(), group["params"]) == (own.keys(), own["params"])
        for group, own in zip(groups, own_groups, strict=True)
    ]
    return all((*shapes, *same_groups))


def carry(
    label: str,
    moments: Mapping[Tensor, Mapping[str, Any]],
    whole: Mapping[str, nn.Parameter],
    network: nn.Module,
    optimizer: Optimizer,
    cut: Callable[[str, Tensor], Tensor],
) -> None:
    """Give the optimizer of a smaller network what that of the whole one kept of its weights.

    Args:
        label: of the optimizer.
        moments: what the whole network's optimizer kept, by parameter.
        whole: name → parameter of the whole network.
        optimizer: of the smaller network.
        cut: name of a parameter and a tensor of its shape → what the smaller network has of the tensor.

    Raises:
        BadInput: an optimizer of one's own keeps other numbers than one for each weight.
    """
    for name, parameter in network.named_parameters():
        for key, value in moments.get(whole[name], {}).items():
            if isinstance(value, Tensor) and value.shape == whole[name].shape:
                value = cut(name, value)
            elif isinstance(value, Tensor) and value.dim():
                raise BadInput(
                    f"shrink: {label} keeps {key} of {name}, which has no number for each weight: "
                    "leave shrink out, or give rewind_epoch or retrain_epochs"
                )
            optimizer.state[parameter][key] = copy.deepcopy(value)
