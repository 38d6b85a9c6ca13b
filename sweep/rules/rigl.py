"""`rigl`: sparse training that grows by gradient. Evci et al. 2020."""

from dataclasses import dataclass

from sweep.rules.along import Along
from sweep.rules.choices import Choices, GrowthName


@dataclass(frozen=True)
class _Choices(Choices):
    grow: GrowthName = "gradient"


class RigL(Along):
    """Sparse from the start; each layer drops its smallest weights and grows by the largest gradients."""

    name = "rigl"
    options = _Choices


RIGL = RigL()
