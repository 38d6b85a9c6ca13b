"""The files that describe clusters: as Ray itself checks them, and what must be so of all."""

import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parent.parent
CLUSTERS = ["cluster.yaml", "deploy/gcp.yaml", "deploy/local.yaml"]
MANIFESTS = ["deploy/kuberay.yaml", "deploy/kuberay-job.yaml"]


def load(name):
    return yaml.safe_load((ROOT / name).read_text())


def installed(package):
    found = re.search(rf"^{package}==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    return found[1]


@pytest.mark.parametrize("name", CLUSTERS)
def test_ray_takes_a_cluster(name):
    config = prepare_config(load(name))
    validate_config(config)
    kinds = config["available_node_types"].values()
    assert sum(kind["max_workers"] for kind in kinds) >= config["max_workers"] >= 2


def test_ray_finds_a_mistake_in_a_cluster():
    with pytest.raises(jsonschema.ValidationError, match="max_wrokers"):
        validate_config(prepare_config(load("cluster.yaml") | {"max_wrokers": 3}))


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_cluster_is_closed_and_runs_this_checkout(name):
    config = load(name)
    for command in [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]:
        assert "ray stop" in command or "export RAY_AUTH_MODE=token" in command
    [head] = [command for command in config["head_start_ray_commands"] if "--head" in command]
    assert "--dashboard-host=127.0.0.1" in head
    assert config["file_mounts"] == {"~/secateur": ".", "~/.ray/auth_token": "~/.ray/auth_token"}
    assert any(
        "--constraint constraints.txt --editable '.[cluster]'" in line for line in config["setup_commands"]
    )


@pytest.mark.parametrize("name", ["cluster.yaml", "deploy/gcp.yaml"])
def test_in_a_cloud_trials_run_on_gpus_that_come_and_go(name):
    config = load(name)
    workers = {
        key: kind for key, kind in config["available_node_types"].items() if key != config["head_node_type"]
    }
    assert config["available_node_types"][config["head_node_type"]]["resources"] == {"CPU": 0}
    assert all(kind["resources"]["GPU"] == 1 and kind["min_workers"] == 0 for kind in workers.values())
    assert ["SPOT" in str(kind["node_config"]).upper() for kind in workers.values()] == [False, True]
    assert config["idle_timeout_minutes"] and "secateur-storage" in str(workers)


def test_images_have_the_ray_that_is_tested():
    tag = f"rayproject/ray:{installed('ray')}-py311"
    for name in ("cluster.yaml", "deploy/gcp.yaml"):
        docker = load(name)["docker"]
        assert (docker["head_image"], docker["worker_image"]) == (f"{tag}-cpu", f"{tag}-gpu")
    assert f"FROM {tag}-gpu\n" in (ROOT / "deploy/Dockerfile").read_text()


AMOUNTS = {
    "type": "object",
    "required": ["cpu", "memory"],
    "properties": {"cpu": {"type": "string"}, "memory": {"type": "string", "pattern": "^[0-9]+[MGT]i$"}},
    "additionalProperties": {"type": "string"},
}
CONTAINER = {
    "type": "object",
    "required": ["name", "image", "resources"],
    "properties": {
        "name": {"type": "string"},
        "image": {"const": "REGISTRY/secateur"},
        "ports": {"type": "array", "items": {"type": "object", "required": ["containerPort", "name"]}},
        "resources": {
            "type": "object",
            "required": ["requests", "limits"],
            "properties": {"requests": AMOUNTS, "limits": AMOUNTS},
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}
POD = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["serviceAccountName", "containers"],
            "properties": {
                "serviceAccountName": {"const": "secateur"},
                "containers": {"type": "array", "items": CONTAINER, "minItems": 1, "maxItems": 1},
                "tolerations": {"type": "array"},
            },
            "additionalProperties": False,
        }
    },
    "additionalProperties": False,
}
PARAMETERS = {"type": "object", "additionalProperties": {"type": "string"}}
GROUP = {"rayStartParams": PARAMETERS, "template": POD}
COUNT = {"type": "integer", "minimum": 0}
# Of KubeRay's own definition (ray.io/v1), against which the files were held by hand, what they use.
CLUSTER = {
    "type": "object",
    "required": ["rayVersion", "authOptions", "enableInTreeAutoscaling", "headGroupSpec", "workerGroupSpecs"],
    "properties": {
        "rayVersion": {"const": installed("ray")},
        "authOptions": {"const": {"mode": "token"}},
        "enableInTreeAutoscaling": {"const": True},
        "autoscalerOptions": {
            "type": "object",
            "properties": {"version": {"enum": ["v1", "v2"]}, "idleTimeoutSeconds": COUNT},
            "additionalProperties": False,
        },
        "headGroupSpec": {
            "type": "object",
            "required": ["rayStartParams", "template"],
            "properties": {**GROUP, "serviceType": {"const": "ClusterIP"}},
            "additionalProperties": False,
        },
        "workerGroupSpecs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"],
                "properties": {
                    **GROUP,
                    "groupName": {"type": "string"},
                    "replicas": COUNT,
                    "minReplicas": COUNT,
                    "maxReplicas": COUNT,
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}
JOB = {
    "type": "object",
    "required": ["entrypoint", "rayClusterSpec"],
    "properties": {
        "entrypoint": {"type": "string", "pattern": "^python -m sweep.launch studies/"},
        "shutdownAfterJobFinishes": {"type": "boolean"},
        "ttlSecondsAfterFinished": COUNT,
        "backoffLimit": COUNT,
        "rayClusterSpec": CLUSTER,
    },
    "additionalProperties": False,
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_is_what_kuberay_takes(name):
    manifest = load(name)
    assert manifest["apiVersion"] == "ray.io/v1" and set(manifest) == {
        "apiVersion",
        "kind",
        "metadata",
        "spec",
    }
    jsonschema.validate(manifest["spec"], {"RayCluster": CLUSTER, "RayJob": JOB}[manifest["kind"]])
    cluster = manifest["spec"].get("rayClusterSpec", manifest["spec"])
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}, "no trial runs on the head"
