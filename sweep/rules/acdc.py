"""`acdc`: alternating compressed and decompressed training. Peste et al. 2021."""

from dataclasses import dataclass

from sweep.rules.along import Along
from sweep.rules.choices import Choices, GrowthName, PathName


@dataclass(frozen=True)
class _Choices(Choices):
    path: PathName = "square"
    grow: GrowthName = "all"


class AcDc(Along):
    """Sparse and dense phases of `update_every` steps in turns, by magnitude; the last one is sparse."""

    name = "acdc"
    options = _Choices


ACDC = AcDc()
