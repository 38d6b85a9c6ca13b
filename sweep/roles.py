"""What a field of a trial decides. Each field of `sweep.config.Config` has one role."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a field decides.

    Dense training depends on DATA, NETWORK and TRAINING alone. The scores of the unpruned network depend on
    TARGET and SCORING besides. The masks that a criterion chooses depend on UNITS and MASK besides.
    """

    DATA = "data"  # the images, their labels, and which of them validate
    NETWORK = "network"  # the layers and the distribution of the initial weights
    TRAINING = "training"  # optimizer, learning rate, length
    TARGET = "target"  # which weights may be pruned, and when
    UNITS = "units"  # what is removed as a whole
    SCORING = "scoring"  # the criterion and the batches that it looks at
    MASK = "mask"  # how masks follow from scores
    RETRAINING = "retraining"  # what changes between the pruning and the end
    RANDOMNESS = "randomness"  # the seeds of random draws


# What dense training depends on, seeds apart.
DENSE_TRAINING = (Role.DATA, Role.NETWORK, Role.TRAINING)
# What the scores of the unpruned network depend on, seeds apart.
SCORES = (*DENSE_TRAINING, Role.TARGET, Role.SCORING)


@dataclass(frozen=True)
class About:
    """What is said of a field beside its type and its default.

    Attributes:
        role: what the field decides.
        help: its meaning and unit, as documentation prints them.
        memory: whether the memory that a trial takes of a GPU depends on it.
        beside: another field and the value of it that this field is for; beside another value it does not
            matter. None: it is for all.
    """

    role: Role
    help: str
    memory: bool = False
    beside: tuple[str, object] | None = None
