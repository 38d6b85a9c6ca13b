"""The order of trials, the training that several of them share, and the packs that workers get."""

from sweep.plan.jobs import Chain, Job, Pack, own_steps, training_steps
from sweep.plan.one_by_one import OneByOne, trains_alone
from sweep.plan.packs import first, packs
from sweep.plan.sharing import Work, share, work

__all__ = [
    "Chain",
    "Job",
    "OneByOne",
    "Pack",
    "Work",
    "first",
    "own_steps",
    "packs",
    "share",
    "training_steps",
    "trains_alone",
    "work",
]
