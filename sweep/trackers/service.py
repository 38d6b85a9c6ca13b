"""The services that trials are logged to, by name."""

from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

from sweep.errors import BadInput
from sweep.store.places import Place
from sweep.trackers.run import Run


class Tracker(Protocol):
    """A service to which trials are logged, one after another, in one thread.

    Its module has a function `tracker(results, to)` that returns it, and may have a function
    `check(results, to)` that raises `BadInput` for what is known to fail.
    """

    def log(self, run: Run) -> bool:
        """Log a trial, in place of an earlier run of it; whether it was not there as it is already.

        Raises:
            Exception: whatever the service's own library raises, if it cannot be logged now.
        """

    def close(self) -> None:
        """End the connection; what was logged stays."""


class Service(StrEnum):
    """Services that show trials as runs. Each is a module of this name, an extra and a package."""

    TENSORBOARD = "tensorboard"
    WANDB = "wandb"
    MLFLOW = "mlflow"

    def check(self, results: Place, to: str | None = None) -> None:
        """Raise `BadInput` if trials cannot be logged to the service.

        Args:
            results: the folder of results.
            to: where the service is; None: where it is by itself.
        """
        if not find_spec(self.value):
            raise BadInput(f"{self}: it is not installed: pip install 'secateur[{self}]'")
        if check := getattr(import_module(f"sweep.trackers.{self}"), "check", None):
            check(results, to)

    def tracker(self, results: Place, to: str | None = None) -> Tracker:
        """The connection to the service. Its library is imported now, which may take seconds.

        Args:
            results: the folder of results, of one study or of several.
            to: where the service is; None: where its environment variables or its defaults say.
        """
        started: Tracker = import_module(f"sweep.trackers.{self}").tracker(results, to)
        return started
