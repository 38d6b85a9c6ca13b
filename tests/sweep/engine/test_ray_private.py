"""Ray's private names that the engine uses: an update of Ray that changes one fails here first."""

import inspect

import pytest
import ray
from ray._private import services, worker
from ray._private.node import Node
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError
from ray.tune.experiment import Trial
from ray.tune.search import SearchGenerator

from sweep.engine import cluster, ray_patches

USED = {
    # Name → its owner, its parameters, and our module that uses it.
    "_actor_task_failed": (
        RayActorManager,
        ["self", "tracked_actor_task", "exception"],
        "sweep.engine.ray_patches",
    ),
    "canonicalize_bootstrap_address": (services, ["addr", "temp_dir"], "sweep.engine.cluster"),
    "dead_processes": (Node, ["self"], "sweep.engine.cluster"),
    "is_finished": (SearchGenerator, ["self"], "sweep.engine.pack_queue"),
}


@pytest.mark.parametrize("name", USED)
def test_ray_has_the_private_function_that_the_engine_uses(name):
    owner, parameters, used_by = USED[name]
    found = getattr(owner, name, None)
    said = f"Ray {ray.__version__}: {owner.__name__}.{name}{{}}: see {used_by}"
    assert found is not None, said.format(" is gone")
    assert list(inspect.signature(found).parameters) == parameters, said.format(" takes other arguments")


def test_ray_has_the_private_attributes_that_the_engine_uses():
    said = f"Ray {ray.__version__}: {{}} is gone: see sweep.engine.{{}}"
    assert hasattr(worker, "_global_node"), said.format("ray._private.worker._global_node", "cluster")
    assert cluster.dead_process() is None, "without a cluster no process of it is dead"
    trial = Trial("none", stub=True)
    for owner, name in ((Trial, "pickled_error_file"), (trial, "config"), (trial, "evaluated_params")):
        assert hasattr(owner, name), said.format(f"Trial.{name}", "tune")


def test_tune_takes_every_loss_of_a_worker_for_its_death():
    """Of other errors it would end, and the launch with it."""
    seen = []
    patched = ray_patches._any_death_is_an_actors(lambda manager, task, error: seen.append(error))
    own = [RayActorError(error_msg="died"), RayTaskError("run", "trace", ValueError()), ValueError("ours")]
    for error in (OutOfMemoryError("its node ran out of memory"), *own):
        patched(None, None, error)
    assert isinstance(seen[0], RayActorError) and "ran out of memory" in str(seen[0])
    assert seen[1:] == own, "others stay as they are"
    wrapped = RayActorManager._actor_task_failed.__qualname__
    assert wrapped.startswith("_any_death_is_an_actors"), "the patch is in place"
