"""`gmp`: gradual magnitude pruning. Zhu & Gupta 2017."""

from dataclasses import dataclass

from sweep.rules.along import Along
from sweep.rules.choices import Choices, GrowthName, PathName


@dataclass(frozen=True)
class _Choices(Choices):
    path: PathName = "cubic"
    grow: GrowthName = "none"


class Gmp(Along):
    """From dense, by magnitude, on the cubic path from `prune_epoch` on; nothing grows."""

    name = "gmp"
    options = _Choices


GMP = Gmp()
