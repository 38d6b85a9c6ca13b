"""One trial, from its config to its result, without Ray."""

from sweep.trial.run import Result, failure, run

__all__ = ["Result", "failure", "run"]
