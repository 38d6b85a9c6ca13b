"""`east`: extreme adaptive sparse training, its cycles of density. Li et al. 2024."""

from dataclasses import dataclass

from sweep.rules.along import Along
from sweep.rules.choices import Choices, GrowthName, PathName


@dataclass(frozen=True)
class _Choices(Choices):
    path: PathName = "cyclic"
    grow: GrowthName = "gradient"


class East(Along):
    """Sparse from the start, with waves of the density at first; drops and grows as `rigl` does."""

    name = "east"
    options = _Choices


EAST = East()
