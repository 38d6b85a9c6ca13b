from torch import nn


def orthogonal(weight, *, gain: float = 1.0):
    """Rows that are orthogonal to each other, each of length `gain` (Saxe et al. 2014)."""
    nn.init.orthogonal_(weight, gain)
