"""Masks as bipartite graphs: a kept weight is an edge between an input and an output."""

from math import sqrt

import torch
from torch import Tensor

# The least mean degree of both sides for which the bound says anything.
_LEAST_DEGREE = 3
# The largest smaller side of a matrix whose singular values are computed: time grows with its third power.
_LARGEST = 512


def ramanujan_gap(mask: Tensor) -> float | None:
    """How far the graph of a mask is from the bound of Ramanujan graphs; 0 and more: it is as well connected.

    Δ = √(d_in − 1) + √(d_out − 1) − λ, where d_in and d_out are the mean degrees of the inputs and of the
    outputs that have an edge, and λ is the second singular value of the mask as a 0/1 matrix of outputs by
    inputs × kernel: the third largest of the |eigenvalues| of the graph (Hoang et al. 2023, 'Revisiting
    Pruning at Initialization Through the Lens of Ramanujan Graph', without its subgraphs). A complete graph
    has λ = 0.

    Returns:
        The gap; None if a mean degree is below 3, or if both sides have more than 512 vertices.
    """
    matrix = mask.detach().flatten(1).cpu()
    matrix = matrix[matrix.any(1)][:, matrix.any(0)]
    edges, (outputs, inputs) = int(matrix.count_nonzero()), matrix.shape
    if edges < _LEAST_DEGREE * max(outputs, inputs, 1) or min(outputs, inputs) > _LARGEST:
        return None
    wide = (matrix if outputs <= inputs else matrix.t()).float()
    # Sums of zeros and ones are exact. The eigenvalues are the squares of the singular values.
    squares = torch.linalg.eigvalsh((wide @ wide.t()).double())
    second = sqrt(max(0.0, float(squares[-2]))) if len(squares) > 1 else 0.0
    return sqrt(edges / inputs - 1) + sqrt(edges / outputs - 1) - second
