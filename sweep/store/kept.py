"""What a study keeps of its trials' networks: masks, a table of results, and weights, a file a trial."""

import shutil
from enum import StrEnum

from sweep.store import results
from sweep.store.places import Place, put

# The folder of the files, in that of the study.
_FOLDER = "weights"
_SUFFIX = ".safetensors"


class Keep(StrEnum):
    """What a study keeps of the final network of each finished trial."""

    MASKS = "masks"
    WEIGHTS = "weights"

    @property
    def lacking(self) -> str:
        """The condition in SQL, for `--rerun`, of finished trials of which this is not kept."""
        return f"status = 'ok' AND trial_id NOT IN (FROM {self})"

    @property
    def weights(self) -> bool:
        """Whether weights are kept beside the masks."""
        return self is Keep.WEIGHTS

    def of(self, folder: Place) -> set[str]:
        """The ids of the trials of which a folder of results has this; not all need have a result."""
        masks = results.trials_in(folder, "masks")
        return masks & trials(folder) if self.weights else masks


def file(folder: Place, trial_id: str) -> Place:
    """The file of a trial's final weights.

    Args:
        folder: of the study's results.
    """
    return folder / _FOLDER / f"{trial_id}{_SUFFIX}"


def write(folder: Place, trial_id: str, content: bytes) -> None:
    """Write the file of a trial, which appears complete or not at all; an earlier one is replaced.

    Raises:
        OSError: the disk or the store refused.
    """
    put(file(folder, trial_id), lambda target: target.write(content))


def trials(folder: Place) -> set[str]:
    """The ids of the trials that have a file; those of trials without a result may be among them."""
    return {each.name.removesuffix(_SUFFIX) for each in (folder / _FOLDER).glob(f"*{_SUFFIX}")}


def copy(trial_id: str, source: Place, target: Place) -> None:
    """Copy the file of a trial from the folder of one study to that of another.

    Raises:
        OSError: it cannot be read or written.
    """
    with file(source, trial_id).open("rb") as content:
        put(file(target, trial_id), lambda written: shutil.copyfileobj(content, written))


def remove_unfinished(folder: Place) -> None:
    """Remove what workers that were killed have left of files. The caller holds the lock of the study."""
    for unfinished in (folder / _FOLDER).glob(f".*{_SUFFIX}.*"):
        unfinished.unlink(missing_ok=True)
