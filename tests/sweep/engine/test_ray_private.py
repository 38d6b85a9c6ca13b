"""What is used of Ray beyond what Ray documents: an update of Ray that changes it fails here first, and says what breaks."""

import inspect
import os
from importlib import import_module
from pathlib import Path

import pytest
import ray
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError
from ray.tune.experiment import Trial

from sweep.engine import ray_private
from sweep.options import cluster_here

ENGINE = "sweep.engine.ray_private"
# Module, name in it, parameters of a function (None: no function), who uses it, what stops working without it.
USED = [
    (
        "ray.air.execution._internal.actor_manager",
        "RayActorManager._actor_task_failed",
        ["self", "tracked_actor_task", "exception"],
        f"{ENGINE}._any_death_is_an_actors",
        "a node that runs out of memory, or is lost with an answer, ends the launch",
    ),
    (
        "ray._private.services",
        "canonicalize_bootstrap_address",
        ["addr", "temp_dir"],
        f"{ENGINE}.head_of",
        "--address with no cluster waits for minutes, and Ray ends the process",
    ),
    (
        "ray._private.worker",
        "_global_node",
        None,
        f"{ENGINE}.dead_processes",
        "a launch whose Ray died ends a minute later, with Ray's lines",
    ),
    ("ray._private.node", "Node.dead_processes", ["self"], f"{ENGINE}.dead_processes", "the same"),
    (
        "ray.tune.search",
        "SearchGenerator.is_finished",
        ["self"],
        "sweep.engine.pack_queue.PackGenerator",
        "idle workers and nodes stay to the end of a launch",
    ),
    (
        "ray.tune.experiment",
        "Trial.pickled_error_file",
        None,
        f"{ENGINE}.error_of",
        "workers that cannot begin are taken for dead ones, and tried again",
    ),
    (
        "ray.exceptions",
        "RayActorError.actor_init_failed",
        None,
        "sweep.engine.tune._why_unable",
        "a worker that cannot start is taken for a dead one, and tried again",
    ),
    (
        "ray.autoscaler._private.util",
        "prepare_config",
        ["config"],
        "tests.test_deploy, tests.integration.test_aws",
        "no test sees whether Ray accepts cluster.yaml and the files of deploy/",
    ),
    ("ray.cluster_utils", "Cluster", None, "tests.integration", "tests have no cluster of several nodes"),
]


@pytest.mark.parametrize(
    ("module", "name", "parameters", "used_by", "without"),
    USED,
    ids=[f"{each[0]}.{each[1]}" for each in USED],
)
def test_ray_has_what_is_used_of_it(module, name, parameters, used_by, without):
    said = f"Ray {ray.__version__}: {module}.{name} {{}}: {used_by} uses it; without it, {without}"
    try:
        found = import_module(module)
    except ImportError:
        pytest.fail(said.format("is gone, with its module"))
    for part in name.split("."):
        assert hasattr(found, part), said.format("is gone")
        found = getattr(found, part)
    if parameters:
        assert list(inspect.signature(found).parameters) == parameters, said.format("takes other arguments")


def test_a_trial_of_tune_keeps_its_config_where_it_is_emptied():
    trial = Trial("none", stub=True, config={"jobs": [1]}, evaluated_params={"jobs": [1]})
    ray_private.forget(trial)
    assert (trial.config, trial.evaluated_params) == ({}, {})
    assert ray_private.error_of(trial) is None, "it has ended without an error"


def test_without_a_cluster_no_process_of_it_is_dead():
    assert ray_private.dead_processes() == []


def test_the_head_of_a_cluster_is_told_by_the_file_that_ray_keeps_there(monkeypatch):
    from ray._common.utils import get_ray_address_file

    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    kept = {Path(get_ray_address_file(None)), Path.home() / "ray_bootstrap_config.yaml"}
    monkeypatch.setattr(os, "access", lambda path, mode: path in kept)
    assert cluster_here(None) == "auto", f"Ray {ray.__version__} keeps it elsewhere: see sweep.options"


def test_tune_takes_every_loss_of_a_worker_for_its_death():
    """Of other errors it would end, and the launch with it."""
    seen = []
    patched = ray_private._any_death_is_an_actors(lambda manager, task, error: seen.append(error))
    own = [RayActorError(error_msg="died"), RayTaskError("run", "trace", ValueError()), ValueError("ours")]
    for error in (OutOfMemoryError("its node ran out of memory"), *own):
        patched(None, None, error)
    assert isinstance(seen[0], RayActorError) and "ran out of memory" in str(seen[0])
    assert seen[1:] == own, "others stay as they are"
    wrapped = RayActorManager._actor_task_failed.__qualname__
    assert wrapped.startswith("_any_death_is_an_actors"), "the patch is in place"
