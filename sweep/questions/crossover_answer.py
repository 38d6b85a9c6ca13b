"""What a bisection has found, in a sentence and as numbers."""

from collections.abc import Callable
from itertools import groupby

from sweep.questions.bisection import LEVEL, Bisection
from sweep.questions.evidence import FEWEST, quantile, statistic
from sweep.questions.pairs import runs
from sweep.questions.places import decades
from sweep.questions.planner import Answer, Measure, Measured, Status
from sweep.questions.signs import Place
from sweep.questions.words import ENDS, Counts, added, caveats, counted, joined, left_out

_SIDE = {1: "above", -1: "below"}
_COUNTED = "95 %, all looks and sparsities counted"
# Fewer missing pairs than this are a figure that may be planned with.
_FORESEEABLE = 1_000


def answer(
    state: Bisection, status: Status, arms: tuple[str, str], measured: Measured, measure: Measure
) -> Answer:
    """The answer of a state in which the question ends with this status."""
    sentence = _SENTENCES[status](state, arms)
    counts = _counts(state, arms)
    numbers = {
        "bracket": list(state.bracket) if state.bracket else None,
        "decades": round(decades(*state.bracket), 4) if state.bracket else None,
        "falls": state.places[state.bracket[0]].sign > 0 if state.bracket else None,
        "certain": {place.sparsity: place.sign for place in state.places.values() if place.sign},
        "open": {place.sparsity: place.missing for place in state.places.values() if _is_open(state, place)},
        "arms": left_out(counts),
        "trials": sum(seeds for seeds, _, _ in counts.values()),
    }
    guessed = _with_lost(state, arms, measured, measure)
    return Answer(status, joined(ENDS[status], sentence, caveats(counts), guessed), numbers)


def progress(state: Bisection, first: str) -> str:
    """The answer so far, in a short line."""
    if state.bracket:
        low, high = state.bracket
        line = f"{first} crosses between {low:g} and {high:g} ({decades(low, high):.2g} decades)"
    else:
        certain = [
            f"{_SIDE[place.sign]} at {place.sparsity:g}" for place in state.places.values() if place.sign
        ]
        line = f"{first} is {', '.join(certain)}" if certain else "no sign is certain yet"
    waiting = [_so_far(place) for place in state.places.values() if _is_open(state, place)]
    return f"{line}; open: {', '.join(waiting)}" if waiting and not state.narrow else line


def _is_open(state: Bisection, place: Place) -> bool:
    return place.open and state.counts(place)


def _crossed(state: Bisection, arms: tuple[str, str]) -> str:
    low, high = state.bracket or (0.0, 0.0)
    one, other = (_SIDE[state.places[end].sign] for end in (low, high))
    return (
        f"{arms[0]} is certainly {one} {arms[1]} at {low:g} and certainly {other} at {high:g} ({_COUNTED}): "
        "they cross in between."
    )


def _uncrossed(state: Bisection, arms: tuple[str, str]) -> str:
    low, *inside, high = state.places
    side = _SIDE[state.places[low].sign]
    tested = "both sparsities" if not inside else f"all {len(inside) + 2} sparsities"
    return f"{arms[0]} is certainly {side} {arms[1]} at {tested} tested ({low:g} … {high:g}; {_COUNTED})."


def _open(state: Bisection, arms: tuple[str, str]) -> str:
    certain = [place for place in state.places.values() if place.sign]
    sides = [
        f"certainly {_SIDE[sign]} at {', '.join(f'{place.sparsity:g}' for place in places)}"
        for sign, places in groupby(certain, key=lambda place: place.sign)
    ]
    opened = [place for place in state.places.values() if _is_open(state, place)]
    said = [
        f"{arms[0]} is {' and '.join(sides)} ({_COUNTED})."
        if sides
        else f"No sign of {arms[0]} − {arms[1]} is certain."
    ]
    if state.bracket:
        said.append(f"They cross between {state.bracket[0]:g} and {state.bracket[1]:g}.")
    if opened:
        said.append(f"Open at {', '.join(map(_so_far, opened))}.")
        near = min(opened, key=lambda place: place.missing)
        if near.missing < _FORESEEABLE:
            said.append(f"About {counted(near.missing, 'more pair')} at {near.sparsity:g} would tell.")
    return " ".join(said)


def _so_far(place: Place) -> str:
    return f"{place.sparsity:g} ({counted(place.count, 'pair')})"


_SENTENCES: dict[Status, Callable[[Bisection, tuple[str, str]], str]] = {
    "answered": _crossed,
    "none": _uncrossed,
    "open": _open,
    "spent": _open,
}


def _counts(state: Bisection, arms: tuple[str, str]) -> dict[str, Counts]:
    """The runs of each arm at all places that count."""
    found = [place.pairs for place in state.places.values()]
    return {
        arm: added((pairs.seeds, pairs.lost[side], pairs.collapsed[side]) for pairs in found)
        for side, arm in enumerate(arms)
    }


def _with_lost(state: Bisection, arms: tuple[str, str], measured: Measured, measure: Measure) -> str:
    """What becomes of the signs of the bracket if each lost run has the number of guessing."""
    if measure.chance is None or not state.bracket:
        return ""
    for place in (state.places[end] for end in state.bracket):
        if not any(place.pairs.lost):
            continue
        first, second = (run[: place.pairs.seeds] for run in runs(measured, arms, place.sparsity))
        guessed = [
            (measure.chance if one is None else one) - (measure.chance if other is None else other)
            for one, other in zip(first, second, strict=True)
        ]
        t = statistic(guessed, measure.grain)
        if t * place.sign < quantile(max(FEWEST, len(guessed)), LEVEL):
            sign = f"the sign at {place.sparsity:g} is not certain"
            return f"With lost runs at chance ({measure.chance:g}) {sign}."
    return ""
