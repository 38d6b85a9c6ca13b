"""What proposes the trials of a session, where they are not all known before."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from sweep.plan import Pack
from sweep.study.identity import Trial
from sweep.trial import Result


class Proposer(Protocol):
    """Proposes trials while others run, as a search and a question do.

    The session calls `ask` and `tell` in one thread, Tune's, never both at once.
    """

    def begin(self, workers: int) -> None:
        """So many trials run at once. Called before the first is asked for."""

    def ask(self) -> Pack | None:
        """The next pack to run; None: there is none until another result is told."""

    def tell(self, result: Result) -> None:
        """Take a trial's result, which is on disk by now. It may be of any trial that was asked for."""

    def examples(self) -> Sequence[Trial]:
        """Trials of all kinds that may be proposed, for measuring their memory."""

    def judge(self) -> partial[Any] | None:
        """The class of a judge that stops poor trials early, with its arguments; None: none is stopped."""
