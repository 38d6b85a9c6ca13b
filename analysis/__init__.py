"""Questions to the results, as SQL over Parquet: `analysis.open("results")`, or `python -m analysis`.

Each question of the command line is a function here too, such as `analysis.crossover(results, "snip")`.
`dir(analysis)` lists them, and `help(analysis.crossover)` says what one takes.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import sweep  # noqa: F401  first: it sees to Ctrl-C while the rest is imported
from analysis.warehouse import open

if TYPE_CHECKING:
    from analysis.answers import Answer as Answer
    from analysis.results import Results as Results

__all__ = ["Answer", "Results", "open"]


# Imported when they are asked for: a query needs no questions.
def __getattr__(name: str) -> "Callable[..., Answer] | Any":
    if name == "Results":
        from analysis.results import Results

        return Results
    # A module that is being imported is looked for here first.
    if not name.startswith("_") and not find_spec(f"{__name__}.{name}"):
        from analysis import answers

        if name == "Answer":
            return answers.Answer
        if function := answers.functions().get(name):
            return function
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    from analysis import answers

    return sorted([*__all__, *answers.functions()])
