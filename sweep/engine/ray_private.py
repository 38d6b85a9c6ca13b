"""What the engine uses of Ray beyond what Ray documents; its test says what an update of Ray breaks.

Import it before Tune runs: it changes how Tune takes the loss of a worker.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray._private import services, worker
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError

# Bytes of a socket's name after RAY_TMPDIR: the name of the session has the time and a process id.
SOCKET_NAME = len("/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")

_Failed = Callable[[Any, Any, Exception], None]


def head_of(address: str) -> str:
    """HOST:PORT of the cluster that an address means, as `auto` does; "" where it means one to be started.

    Raises:
        OSError, ValueError, RuntimeError: it means none.
    """
    head: str | None = services.canonicalize_bootstrap_address(address)
    return head or ""


def dead_processes() -> list[str]:
    """Names of dead processes without which Ray ends, of a cluster that this process has started."""
    node = worker._global_node
    return [name for name, _ in node.dead_processes()] if node else []


def error_of(trial: Any) -> Exception | None:
    """The error that ended a trial of Tune; None: it is of a class that this machine does not have."""
    try:
        error: Exception = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    except Exception:
        return None
    return error


def forget(trial: Any) -> None:
    """Empty a trial of Tune that is over: Tune keeps it to the end, a kilobyte with its jobs."""
    trial.config.clear()
    trial.evaluated_params.clear()


def _any_death_is_an_actors(failed: _Failed) -> _Failed:
    """Turn every error of Ray about a lost worker into the one that Tune handles.

    Tune ends over others: a worker that was killed because its node ran out of memory, or a worker whose
    answer was lost with its node. Both are workers that died.
    """

    def actor_task_failed(self: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=str(exception))
        failed(self, tracked_actor_task, exception)

    return actor_task_failed


RayActorManager._actor_task_failed = _any_death_is_an_actors(RayActorManager._actor_task_failed)
