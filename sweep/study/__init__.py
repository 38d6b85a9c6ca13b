"""Study files: reading one, its trials, and the names of trials."""

from sweep.study.study import Study, load

__all__ = ["Study", "load"]
