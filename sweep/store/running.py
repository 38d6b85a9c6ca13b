"""What running trials leave beside the results of their study, until they have a result.

RESULTS/STUDY/running/TRIAL_ID.json           the curves so far, for people who watch
RESULTS/STUDY/running/TRIAL_ID-KEY-DEVICE.pt  a checkpoint, from which the next worker goes on
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from sweep.store.places import Place, put

FOLDER = "running"
_TRIAL = re.compile(r"([0-9a-f]{16})[-.]")


def show(folder: Place, trial_id: str, content: Mapping[str, object]) -> None:
    """Leave the curves of a trial, in place of earlier ones. If the disk or the store refuses, they stay.

    Args:
        folder: the study's `running`.
    """
    text = json.dumps(content).encode()
    with suppress(OSError):
        put(folder / f"{trial_id}.json", lambda file: file.write(text), sync=False)


def remove(folder: Place, trial_id: str) -> None:
    """Remove all that a trial has left."""
    with suppress(OSError):  # the next launch removes it
        for place in folder.glob(f"{trial_id}*"):
            place.unlink(missing_ok=True)


def trials(folder: Place) -> set[str]:
    """The ids of trials of which there is a checkpoint."""
    with suppress(OSError):  # they begin again
        return {found[1] for place in folder.glob("*.pt") if (found := _TRIAL.match(place.name))}
    return set()


def clean(folder: Place, unfinished: Callable[[], Collection[str]] = frozenset) -> None:
    """Remove what trials have left, and the folder if nothing remains. No trial of the study may be running.

    Args:
        unfinished: gives the ids of trials whose checkpoints stay; by default none does. It is called if
            there is anything.
    """
    with suppress(OSError):  # the next launch does it
        places = [*folder.glob("*")]
        going_on = unfinished() if places else ()
        for place in places:
            found = _TRIAL.match(place.name)
            if not found or found[1] not in going_on or not place.name.endswith(".pt"):
                with suppress(OSError):
                    place.unlink(missing_ok=True)
        folder.rmdir()  # fails if it is not empty
