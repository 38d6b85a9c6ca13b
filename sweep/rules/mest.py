"""`mest`: memory-economic sparse training, with elastic mutation. Yuan et al. 2021."""

from dataclasses import dataclass

from sweep.rules.along import Along
from sweep.rules.choices import Choices, Fall


@dataclass(frozen=True)
class _Choices(Choices):
    drop: str = "magnitude+gradient"
    fall: Fall = "stairs"


class Mest(Along):
    """Sparse from the start; each layer drops by |w| + λ|g|, and grows as many at random, in falling stairs.

    `criterion.path: soft` with `criterion.peak: 1.5` is the variant with a soft memory bound (EM&S).
    """

    name = "mest"
    options = _Choices


MEST = Mest()
