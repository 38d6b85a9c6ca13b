"""What is asked: a study file read, its trials, and what each is called."""

from sweep.study.study import Study, load

__all__ = ["Study", "load"]
