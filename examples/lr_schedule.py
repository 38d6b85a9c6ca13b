import math


def restarts(progress, settings, *, cycles: int = 2):
    """A cosine from 1 to 0, several times over the training (Loshchilov & Hutter 2017)."""
    return (1 + math.cos(math.pi * (progress * cycles % 1))) / 2
