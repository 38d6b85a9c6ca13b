"""The built-in criteria of heads, neurons and blocks: what units do with data, whatever the loss is."""

import torch

from pruners.criteria import criterion
from pruners.forward import single_tensor
from pruners.probe import Probe, Scores
from pruners.residual import by_block
from pruners.saliency import CRITERIA

# The table, with what this module registers in it.
__all__ = ["CRITERIA"]


@criterion(
    "flap",
    source="An et al. 2024",
    equation="σ²(x_j) · ‖W_:j‖², of attention its square, standardized in the layer",
    train_mode=False,
    reads=True,
)
def flap(probe: Probe) -> Scores:
    """Fluctuation of what a column adds to its outputs; structures `head`, `neuron`, `head+neuron`.

    A unit is ranked by the columns that read it; with `unit_score` mean by their mean, as in the paper.
    """
    scores = _unread(probe)
    for name, read in probe.read().items():
        weight = probe.weights[name]
        fluctuation = read.variance * read.size(weight)
        fluctuation = fluctuation.square() if read.attended else fluctuation
        spread = fluctuation.std() if len(fluctuation) > 1 else fluctuation.new_zeros(())
        standard = (fluctuation - fluctuation.mean()) / (spread if spread > 0 else 1)
        scores[name] = read.over(standard, weight)
    return scores


@criterion(
    "activation",
    source="Muralidharan et al. 2024",
    equation="(Σ (E |x_j|)²)^½, E over positions, Σ over samples; of attention ‖x of the head‖₂ for |x_j|",
    train_mode=False,
    reads=True,
)
def activation(probe: Probe) -> Scores:
    """Size of what a column reads, whatever its weights; of a head, the norm of its output.

    A unit is ranked by the columns that read it; with `unit_score` mean by the paper's number.
    """
    found = {
        name: read.over(read.activity.sqrt(), probe.weights[name]) for name, read in probe.read().items()
    }
    return _unread(probe) | found


@criterion(
    "block-influence",
    source="Muralidharan et al. 2024",
    equation="1 − E cos(x, y), x and y the inputs and outputs of the weight's residual block",
    train_mode=False,
)
def block_influence(probe: Probe) -> Scores:
    """How much a block changes what it is given, 0 outside of blocks; structure `depth`, by the mean."""
    cosines, outside = by_block(probe.weights, probe.block_cosines()), 1.0
    if not cosines:  # nothing has looked at what the network makes of its inputs: it may be no number
        with torch.no_grad():
            outputs = [single_tensor(probe.forward(probe.weights, inputs)) for inputs, _ in probe.batches]
        outside += sum(float(each.double().sum() * 0) for each in outputs)
    return {
        name: torch.full_like(weight, 1 - cosines.get(name, outside), dtype=torch.float64)
        for name, weight in probe.weights.items()
    }


def _unread(probe: Probe) -> Scores:
    """The scores of weights that the network does not use: 0."""
    return {name: torch.zeros_like(weight, dtype=torch.float64) for name, weight in probe.weights.items()}
