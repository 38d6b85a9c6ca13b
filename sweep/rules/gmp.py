"""`gmp`: gradual magnitude pruning. Zhu & Gupta 2017."""

from sweep.rules.along import Along


class Gmp(Along):
    """From dense, by magnitude, on the cubic schedule from `prune_epoch` on."""

    name = "gmp"
    thins = True


GMP = Gmp()
