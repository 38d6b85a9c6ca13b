"""Changes to Ray's private code. Import it before Tune runs; a test pins the names that it uses."""

from collections.abc import Callable
from typing import Any

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError

_Failed = Callable[[Any, Any, Exception], None]


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
