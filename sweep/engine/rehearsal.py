"""A rehearsal of parts of one's own before a launch: a few small steps with each, in a process of its own."""

import multiprocessing
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection

from sweep import parts
from sweep.engine.time_limit import TooLong, limited
from sweep.errors import BadInput
from sweep.parts import Part
from sweep.study import Study
from sweep.study.identity import Trial
from sweep.trial.rehearsal import guilty
from sweep.trial.rehearsal import rehearse as try_parts

# Seconds after which a rehearsal is given up: a part that runs forever would otherwise do so in each trial.
_LONGEST = 300.0
# Seconds that its process may take to start.
_STARTS = 60.0


def rehearse(study: Study, trials: Sequence[Trial], data_root: str, trial_seconds: float) -> None:
    """Try each part that a study names, in one trial of few steps on few images.

    Args:
        trial_seconds: that a trial may take.

    Raises:
        BadInput: the code of a part is not here, or it fails; the message names the file and the line.
    """
    for part in study.parts.values():
        if not part.here:
            raise BadInput(f"{part.label}: its code is not here: put it beside {study.path}")
    if not study.parts:
        return
    chosen = _of_each(study.parts, trials)
    longest = min(_LONGEST, 2 * trial_seconds + _STARTS)
    # Not a fork: the code gets a process as a worker's, and may end it.
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    known = tuple(study.parts.values())
    canonicals = [each.canonical for each in chosen]
    process = context.Process(
        target=_try, args=(its, known, canonicals, data_root, trial_seconds, study.metrics)
    )
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


def _try(
    answer: Connection,
    known: tuple[Part, ...],
    canonicals: Sequence[str],
    data_root: str,
    seconds: float,
    metrics: Sequence[str],
) -> None:
    """Try trials one by one, and send the first fault; an empty text if there is none."""
    parts.register(known)
    for canonical in canonicals:
        trial = Trial.parse(canonical)
        try:
            with limited(min(seconds, _LONGEST)):
                fault = try_parts(trial, known, data_root, metrics)
        except TooLong as error:
            fault = parts.line(error, guilty(trial, known, error), f"it runs longer than {seconds:g} seconds")
        if fault:
            answer.send(Fault(fault))
            return
    answer.send("")


def _of_each(names: Iterable[str], trials: Sequence[Trial]) -> list[Trial]:
    """A few trials that name all the parts; the first one where a part is no trial's own, as a metric."""
    missing, chosen = set(names), []
    for trial in trials:
        named = {name for name in missing if f'"{name}"' in trial.canonical}
        if named:
            chosen.append(trial)
            missing -= named
        if not missing:
            break
    return chosen or list(trials[:1])
