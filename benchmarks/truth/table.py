"""A share that the docs state, beside the share that was seen."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Row:
    """How often something was so in simulated studies.

    Attributes:
        point: the fault that this row keeps away, by its number in the closing table of the docs.
        what: what is counted, such as "false crossover".
        planted: the truth that was planted, and the seeds.
        stated: the share that the docs state.
        side: whether the share is to be `stated`, at least that, or at most.
        hits, replications: how often it was so, of how many studies.
    """

    point: int
    what: str
    planted: str
    side: Literal["about", "at least", "at most"]
    stated: float
    hits: int
    replications: int

    @property
    def seen(self) -> float:
        return self.hits / self.replications

    @property
    def allowance(self) -> float:
        """Two standard errors of the share if it is as stated."""
        return 2 * math.sqrt(self.stated * (1 - self.stated) / self.replications)

    @property
    def holds(self) -> bool:
        below, above = self.seen < self.stated - self.allowance, self.seen > self.stated + self.allowance
        return not ((below and self.side != "at most") or (above and self.side != "at least"))

    def __str__(self) -> str:
        words = {"about": "", "at least": "≥ ", "at most": "≤ "}[self.side]
        stated = f"{words}{100 * self.stated:g} %"
        verdict = "holds" if self.holds else "DOES NOT HOLD"
        return f"{self.point:>2}  {self.what:<44} {self.planted:<52} {stated:>7} {100 * self.seen:6.1f} %  {verdict}"
