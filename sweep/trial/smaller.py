"""The network that the masks of a trial leave, really smaller, and where its numbers lie in the whole one."""

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

import pruners
from sweep.errors import BadInput


class Smaller:
    """The network that masks leave of another one, smaller, with its weights and statistics.

    Attributes:
        whole: the network that the masks are of.
        network: the smaller one, with the weights and statistics that the whole one has there.
    """

    def __init__(
        self,
        whole: nn.Module,
        masks: Mapping[str, Tensor],
        structure: str,
        units: pruners.Units,
        example: Tensor,
    ) -> None:
        """Cut the removed units out of a copy of a network.

        Args:
            whole: its pruned parameters are 0.
            masks: of all its parameters that have removed entries.
            structure: of the units that the masks remove.
            units: of this structure, group by group.
            example: one batch of inputs.

        Raises:
            BadInput: the network has layers from which nothing can be cut, or it computes something else
                without the removed units.
        """
        make = pruners.STRUCTURES[structure].cut
        assert make
        kept = pruners.kept_units(units, masks)
        try:
            self.network = make(whole, units, kept, example)
        except ValueError as error:
            raise BadInput(f"shrink: {error}") from None
        self.whole = whole
        self._positions = _positions(lambda other: make(other, units, kept, None), whole)

    def cut(self, name: str, values: Tensor) -> Tensor:
        """What the smaller network has of a tensor with a number for each of the whole network's weights."""
        return values.flatten()[self._positions[name].to(values.device)]

    def widened(self) -> dict[str, Tensor]:
        """The smaller network's state dict in the whole one's shapes, with removed entries as they were."""
        wide = {name: value.detach().clone() for name, value in self.whole.state_dict().items()}
        for name, value in self.network.state_dict().items():
            flat = wide[name].flatten()
            flat[self._positions[name].to(flat.device)] = value.detach()
            wide[name] = flat.view(wide[name].shape)
        return wide


def _positions(cut: Callable[[nn.Module], nn.Module], whole: nn.Module) -> dict[str, Tensor]:
    """Name → for each number of the smaller network, its position in the flat tensor of the whole one.

    They come from cutting a network whose numbers are the positions.
    """
    numbered = copy.deepcopy(whole).cpu().double()
    for value in numbered.state_dict().values():
        value.copy_(torch.arange(value.numel()).view(value.shape))
    return {name: value.detach().long() for name, value in cut(numbered).state_dict().items()}
