"""What a criterion is, and the table of those that have a name. `saliency` and
`unit_saliency` have the built-in functions."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from pruners.own import Own, name_of
from pruners.probe import Scores

# The built-in criteria are trusted with the network itself; their scores are checked by tests.
_BUILT_IN = ("pruners.saliency", "pruners.unit_saliency")

Needs = Literal["data", "shape", "nothing"]
Mode = Literal["train", "eval"]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Criterion:
    """A saliency criterion and what it needs.

    Attributes:
        score: a `Probe` and the criterion's options → scores of all prunable weights.
        source: the paper or code that defines it.
        equation: its score.
        needs: `data`: training batches; `shape`: a batch of inputs of the right shape; `nothing`.
        train_mode: BatchNorm uses the batch's statistics while scoring, otherwise its running statistics.
        iterations: default number of pruning iterations; 1 is one-shot.
        revives: each iteration ranks pruned weights too, so that they can be kept again.
        version: of the criterion, as its author counts; only recorded.
        draws: the scores are independent draws: a unit of several weights has one draw, not a sum of them.
        reads: a score is of the input that a weight reads: units are ranked by the weights that read them.

    Raises:
        ValueError: `needs` or `iterations` has another value than these.
    """

    name: str
    score: Callable[..., Scores]
    source: str = ""
    equation: str = ""
    needs: Needs = "data"
    train_mode: bool = True
    iterations: int = 1
    revives: bool = False
    version: int | str | None = None
    draws: bool = False
    reads: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        if self.needs not in ("data", "shape", "nothing"):
            raise ValueError(f"criterion {self.name}: needs {self.needs!r}: data, shape or nothing")
        if type(self.iterations) is not int or self.iterations < 1:
            raise ValueError(f"criterion {self.name}: iterations {self.iterations!r}: at least 1")

    @property
    def needs_data(self) -> bool:
        """Whether the score depends on the training data."""
        return self.needs == "data"

    @property
    def static(self) -> bool:
        """Whether several iterations give the same masks as one, because the scores never change."""
        return self.needs == "nothing"


CRITERIA: dict[str, Criterion] = {}


def criterion(
    name: str | None = None,
    *,
    source: str = "",
    equation: str = "",
    needs: Needs = "data",
    train_mode: bool = True,
    iterations: int = 1,
    revives: bool = False,
    version: int | str | None = None,
    draws: bool = False,
    reads: bool = False,
) -> Callable[[F], F]:
    """Say of a function what `Criterion` says of a criterion, and register it if a name is given.

    One function can serve several names. The arguments are those of `Criterion`. Example::

        @pruners.criterion("weight-times-gradient", source="example", equation="w · E g")
        def weight_times_gradient(probe):
            gradient = probe.gradient()
            return {name: weight * gradient[name] for name, weight in probe.weights.items()}

    Without a name, `@pruners.criterion(needs="nothing")`, the function is given where a name is:
    `pruners.prune(weight_times_gradient, ...)`.

    Raises:
        ValueError: the function takes neither a probe nor a model, batches and a loss; or as `Criterion`.
    """

    def enter(function: F) -> F:
        entry = Criterion(
            name or name_of(function),
            function if _is_built_in(function) else Own(function),
            source,
            equation,
            needs,
            train_mode,
            iterations,
            revives,
            version,
            draws,
            reads,
        )
        function.__criterion__ = entry  # type: ignore[attr-defined]
        if name:
            CRITERIA[name] = entry
        return function

    if callable(name):
        raise ValueError("@criterion is written with parentheses: @criterion()")
    return enter


def of_function(function: Callable[..., Any]) -> Criterion:
    """The criterion that a function is: as its decorator says, or with the defaults of `Criterion`.

    Raises:
        ValueError: the function takes neither a probe nor a model, batches and a loss.
    """
    said: Criterion | None = getattr(function, "__criterion__", None)
    return said or Criterion(name_of(function), Own(function))


def checked(given: Criterion) -> Criterion:
    """The criterion, with a check of its scores if it is one's own.

    Raises:
        ValueError: as `of_function`.
    """
    is_checked = isinstance(given.score, Own) or _is_built_in(given.score)
    return given if is_checked else replace(given, score=Own(given.score))


def _is_built_in(function: Callable[..., Any]) -> bool:
    return getattr(function, "__module__", "") in _BUILT_IN
