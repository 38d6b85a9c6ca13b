"""`rigl`: sparse training that grows by gradient. Evci et al. 2020."""

from sweep.rules.along import Along, by_gradient


class RigL(Along):
    """Sparse from the start; each layer drops its smallest weights and grows by the largest gradients."""

    name = "rigl"

    growth = staticmethod(by_gradient)


RIGL = RigL()
