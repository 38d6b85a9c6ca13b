"""What makes up for the weights that the prune of a trial removes."""

from collections.abc import Mapping

from torch import Tensor, nn

import pruners
from sweep.config import Config
from sweep.data import Data
from sweep.errors import BadInput
from sweep.trial import masking
from sweep.trial.scoring import ScoringData


def weights(
    config: Config,
    model: nn.Module,
    data: Data,
    exclude: list[str],
    masks: pruners.Masks,
    known: bool,
) -> Mapping[str, Tensor]:
    """The new weights and biases that the config's compensation gives, of the first scoring batches.

    Args:
        exclude: names of the prunable weights that `layers` does not choose.
        known: their values are known elsewhere: of biases that layers did not have, zeros are given.

    Raises:
        BadInput: the compensation does not go with the network.
    """
    if known:
        return masking.added_biases(config, model, exclude)
    if config.compensate == "none":
        return {}
    try:
        return pruners.compensated(config.compensate, model, masks, ScoringData(config, data))
    except ValueError as error:
        raise BadInput(f"compensate {config.compensate} with {config.model}: {error}") from None
