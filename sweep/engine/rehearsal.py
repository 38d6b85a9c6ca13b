"""A rehearsal of parts of one's own before a launch: a few small steps with each, in a process of its own."""

import multiprocessing
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection

from sweep import parts
from sweep.errors import BadInput
from sweep.parts import Part
from sweep.study import Study
from sweep.study.identity import Trial
from sweep.trial.rehearsal import rehearse as try_parts

# Seconds after which a rehearsal is given up: a part that runs forever would otherwise do so in each trial.
_LONGEST = 300.0


def rehearse(study: Study, trials: Sequence[Trial], data_root: str, longest: float = _LONGEST) -> None:
    """Try each part that a study names, in one trial of few steps on few images.

    Raises:
        BadInput: the code of a part is not here, or it fails; the message names the file and the line.
    """
    for part in study.parts.values():
        if not part.here:
            raise BadInput(f"{part.label}: its code is not here: put it beside {study.path}")
    chosen = _of_each(study.parts, trials)
    if not chosen:
        return
    # Not a fork: the code gets a process as a worker's, and may end it.
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    known = tuple(study.parts.values())
    process = context.Process(target=_try, args=(its, known, [each.canonical for each in chosen], data_root))
    process.start()
    its.close()
    try:
        answer = ours.recv() if ours.poll(longest) else f"no answer within {longest:g} seconds"
    except EOFError:
        process.join()
        answer = f"the process that tried it died with code {process.exitcode}"
    finally:
        process.kill()
        process.join()
    if answer:
        names = " or ".join(part.label for part in known)
        raise BadInput(answer if isinstance(answer, Fault) else f"{names}: {answer}")


class Fault(str):
    """A line that names the part and its place."""


def _try(answer: Connection, known: tuple[Part, ...], canonicals: Sequence[str], data_root: str) -> None:
    parts.register(known)
    for canonical in canonicals:
        if fault := try_parts(Trial.parse(canonical), known, data_root):
            answer.send(Fault(fault))
            return
    answer.send("")


def _of_each(names: Iterable[str], trials: Sequence[Trial]) -> list[Trial]:
    """A few trials that name all the parts."""
    missing, chosen = set(names), []
    for trial in trials:
        named = {name for name in missing if f'"{name}"' in trial.canonical}
        if named:
            chosen.append(trial)
            missing -= named
        if not missing:
            break
    return chosen
