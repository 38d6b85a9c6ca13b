"""`granet`: gradual pruning with neuroregeneration. Liu et al. 2021."""

from dataclasses import dataclass

from sweep.rules.along import Along
from sweep.rules.choices import Choices, GrowthName, PathName


@dataclass(frozen=True)
class _Choices(Choices):
    path: PathName = "cubic"
    grow: GrowthName = "gradient"


class GraNet(Along):
    """`gmp`, and after each pruning drops and grows as `rigl` does."""

    name = "granet"
    options = _Choices


GRANET = GraNet()
