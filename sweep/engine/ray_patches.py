"""What of Ray is other than we need it: private names, each held by a test."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError

if TYPE_CHECKING:
    pass


def _deaths_of_all_kinds(
    failed: Callable[[Any, Any, Exception], None],
) -> Callable[[Any, Any, Exception], None]:
    """Tune would end over what it does not know: a worker that was killed because its node ran out of memory,
    or whose answer was lost with its node. To us they are workers that died."""

    def told(self: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=str(exception))
        failed(self, tracked_actor_task, exception)

    return told


RayActorManager._actor_task_failed = _deaths_of_all_kinds(RayActorManager._actor_task_failed)
