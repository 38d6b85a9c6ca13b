"""The answer of a search: objectives, constraints, and the candidates that none is better than."""

from collections.abc import Sequence

from sweep.search.candidate import Candidate
from sweep.study.identity import Trial
from sweep.study.space import OBJECTIVES, Search


def values(search: Search, candidate: Candidate) -> list[float]:
    """A candidate's value of each objective: means over its seeds."""
    return [candidate.mean(OBJECTIVES[name][0]) for name in search.objectives]


def constraints(search: Search, candidate: Candidate) -> dict[str, float]:
    """Name of a constraint → value; a candidate is an answer only if no value is above 0."""
    values = {}
    if search.min_accuracy:
        values["accuracy"] = search.min_accuracy - candidate.mean("val_accuracy")
    if search.no_collapse:
        values["collapsed layers"] = candidate.mean("collapsed_layers")
    return values


def feasible(search: Search, candidate: Candidate) -> bool:
    """Whether a candidate meets all constraints."""
    return all(value <= 0 for value in constraints(search, candidate).values())


def best(search: Search, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The feasible candidates, measured with all seeds, that no other one dominates.

    With one objective these are the candidates of the highest value, with several the Pareto front. The
    highest value of the first objective comes first. Of candidates with the same config one is kept.
    """
    measured = [
        each
        for each in candidates
        if len(each.rows) >= search.seeds and not each.running and feasible(search, each)
    ]
    signs = [1 if OBJECTIVES[name][1] else -1 for name in search.objectives]

    def worth(candidate: Candidate) -> list[float]:
        """Values of the objectives, signed so that higher is better."""
        return [sign * value for sign, value in zip(signs, values(search, candidate), strict=True)]

    def dominated(one: list[float], other: list[float]) -> bool:
        return all(b >= a for a, b in zip(one, other, strict=True)) and one != other

    front: dict[str, Candidate] = {}
    for each in measured:
        if not any(dominated(worth(each), worth(other)) for other in measured):
            front.setdefault(Trial.of(each.config).id, each)
    return sorted(front.values(), key=worth, reverse=True)
