"""`set`: sparse evolutionary training. Mocanu et al. 2018, in the variant of Evci et al. 2020."""

from sweep.rules.along import Along


class Set(Along):
    """Sparse from the start; each layer drops its smallest weights and grows as many at random."""

    name = "set"


SET = Set()
