"""The texts that fields of a config take: names of tables, references to parts, lists of numbers.

This module imports no torch: a table is looked up when a name is checked against it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pkgutil import resolve_name

from pydantic import AfterValidator

from sweep import parts

_at = cache(resolve_name)
# Weights of a study whose model says which file of torchvision's they are.
TORCHVISION = "torchvision"
# What a study writes before the folder of a model of the package transformers.
TRANSFORMERS = "transformers:"
# What weights are of an earlier trial: this, and the trial's id.
RUN = "run:"
_WEIGHTS = re.compile(rf"{TORCHVISION}|{RUN}[0-9a-f]{{16}}|[^@/\\\s\x00-\x1f]+@[0-9a-f]{{8,16}}")


@dataclass(frozen=True, slots=True)
class OneOf(AfterValidator):
    """Accepts the names of some tables.

    Attributes:
        tables: where the tables are, as `module:name`.
    """

    tables: tuple[str, ...] = ()

    @property
    def known(self) -> list[str]:
        """The names that the tables have."""
        return [name for table in self.tables for name in _at(table)]


def one_of(kind: str, *tables: str, prefixes: Sequence[str] = (), own: bool = False) -> OneOf:
    """Accept a name that one of some tables has, or one with a prefix; the error gives the nearest name.

    Args:
        tables: where the tables are, as `module:name`.
        prefixes: where prefixes are, as `module:name`.
        own: accept the name of a part of one's own too, as configs write it.
    """

    def check(name: str) -> str:
        for table in tables:
            if name in _at(table):
                return name
        before: list[str] = [_at(prefix) for prefix in prefixes]
        if any(name.startswith(each) and name != each for each in before):
            return name
        if own and parts.is_name(name):
            return name
        known = accept.known
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        listed = ", ".join([*known, *(f"{each}NAME" for each in before)])
        raise ValueError(f"no such {kind}; " + (f"did you mean {near[0]}?" if near else f"known: {listed}"))

    accept = OneOf(check, tables)
    return accept


def fractions(text: str) -> str:
    """Rising shares of the training, one space between them."""
    try:
        shares = [float(word) for word in text.split()]
    except ValueError:
        shares = [2.0]
    if shares != sorted(set(shares)) or not all(0 < share < 1 for share in shares):
        raise ValueError("it takes rising shares of the training, such as '0.5 0.75'")
    return " ".join(map(repr, shares))


def density_pairs(text: str) -> dict[str, float]:
    """Pattern → density, in the order of a text such as `conv1.*=0.5 *=0.1`.

    Raises:
        ValueError: the text is no such list.
    """
    pairs: dict[str, float] = {}
    for word in text.split():
        pattern, _, written = word.rpartition("=")
        try:
            density = float(written)
        except ValueError:
            density = -1.0
        if not pattern or not 0 <= density <= 1:
            raise ValueError(
                f"{word}: it takes patterns of layers with densities from 0 to 1: 'conv*=0.5 *=0.1'"
            )
        if pattern in pairs:
            raise ValueError(f"{pattern} is given twice")
        pairs[pattern] = density
    if not any(pairs.values()):
        raise ValueError("it takes at least one density above 0, as in 'conv*=0.5 *=0.1'")
    return pairs


def layer_densities(text: str) -> str:
    """Patterns of layers with their densities, one space between them, each density in its shortest form."""
    return " ".join(
        f"{pattern}={density!r}".removesuffix(".0") for pattern, density in density_pairs(text).items()
    )


def trained_weights(text: str) -> str:
    """Trained weights as configs name them: `FILE@HASH`, `run:TRIAL_ID`, or `torchvision`."""
    if not _WEIGHTS.fullmatch(text):
        raise ValueError("it takes a file of weights, torchvision, or run: and the id of a trial")
    return text
