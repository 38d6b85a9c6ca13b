"""The order of trials, the training that several of them share, and the packs that workers get."""

from sweep.plan.jobs import Chain, Job, Pack, own_steps, training_steps
from sweep.plan.packs import packs
from sweep.plan.sharing import Work, share, work

__all__ = ["Chain", "Job", "Pack", "Work", "own_steps", "packs", "share", "training_steps", "work"]
