"""The files that describe clusters: as Ray itself checks them, and what must be so of all."""

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.command_runner import SSHCommandRunner
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parent.parent
CLUSTERS = ["cluster.yaml", "deploy/gcp.yaml", "deploy/local.yaml"]
MANIFESTS = ["deploy/kuberay.yaml", "deploy/kuberay-job.yaml"]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


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
    assert f"inspect {tag}-gpu " in (ROOT / "deploy/Dockerfile").read_text()


AMOUNTS = {
    "type": "object",
    "required": ["cpu", "memory"],
    "properties": {"cpu": {"type": "string"}, "memory": {"type": "string", "pattern": "^[0-9]+[MGT]i$"}},
    "additionalProperties": {"type": "string"},
}
CONFINED = {"const": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
UNPRIVILEGED = {
    "const": {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 100,
        "fsGroup": 100,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
}
CONTAINER = {
    "type": "object",
    "required": ["name", "image", "securityContext", "resources"],
    "properties": {
        "name": {"type": "string"},
        "image": {"const": f"REGISTRY/secateur:{VERSION}"},
        "securityContext": CONFINED,
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
            "required": ["automountServiceAccountToken", "securityContext", "containers"],
            "properties": {
                "serviceAccountName": {"const": "secateur"},
                "automountServiceAccountToken": {"type": "boolean"},
                "securityContext": UNPRIVILEGED,
                "restartPolicy": {"const": "Never"},
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
            "properties": {
                "version": {"enum": ["v1", "v2"]},
                "idleTimeoutSeconds": COUNT,
                "securityContext": CONFINED,
            },
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
        "submitterPodTemplate": POD,
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


def clouds(text):
    """The kinds of machines of a cluster in a cloud."""
    config = yaml.safe_load(text)
    return [kind["node_config"] for kind in config["available_node_types"].values()]


def spec(text):
    """A cluster on Kubernetes, and the pods of a manifest by their place."""
    manifest = yaml.safe_load(text)["spec"]
    cluster = manifest.get("rayClusterSpec", manifest)
    pods = {"head": cluster["headGroupSpec"]["template"]["spec"]}
    pods |= {group["groupName"]: group["template"]["spec"] for group in cluster["workerGroupSpecs"]}
    if "submitterPodTemplate" in manifest:
        pods["submitter"] = manifest["submitterPodTemplate"]["spec"]
    return cluster, pods


def containers(text):
    """All containers of a manifest."""
    return [each for pod in spec(text)[1].values() for each in pod["containers"]]


def token_is_asked_for(text):
    config = yaml.safe_load(text)
    started = [line for key in ("head", "worker") for line in config[f"{key}_start_ray_commands"]]
    return all("RAY_AUTH_MODE=token" in line for line in started if "ray start" in line)


def no_secret_is_copied(text):
    config = yaml.safe_load(text)
    return config["rsync_filter"] == [".gitignore"]


def dashboard_is_on_loopback(text):
    [head] = [line for line in yaml.safe_load(text)["head_start_ray_commands"] if "--head" in line]
    return "--dashboard-host=127.0.0.1" in head


def limits_are_set(text):
    amounts = [each["resources"] for each in containers(text)]
    return all(
        {"cpu", "memory"} <= set(some["limits"]) and some["limits"] == some["requests"] for some in amounts
    )


def only_the_head_asks_kubernetes(text):
    asks = {name for name, pod in spec(text)[1].items() if pod["automountServiceAccountToken"]}
    return asks == {"head"}


def nobody_else_reaches_the_pods(text):
    policy = yaml.safe_load(text)["spec"]
    own = {"matchLabels": {"ray.io/is-ray-node": "yes"}}
    open_to = [rule for rule in policy["ingress"] if rule["from"] != [{"podSelector": own}]]
    named = all(each["podSelector"]["matchLabels"] for rule in open_to for each in rule["from"])
    ports = [port["port"] for rule in open_to for port in rule["ports"]]
    return policy["podSelector"] == own and policy["policyTypes"] == ["Ingress"] and named and ports == [8265]


AWS, GCP, LOCAL = "cluster.yaml", "deploy/gcp.yaml", "deploy/local.yaml"
BY_SSH, KUBERNETES = (AWS, GCP, LOCAL), tuple(MANIFESTS)
# What is held: of which files, how, and a change of the file (a pattern and what to put in its place) that must be found.
POINTS = [
    ("Ray asks everybody for a token", BY_SSH, token_is_asked_for, ("RAY_AUTH_MODE=token;", "true;")),
    ("the dashboard is on the loopback address", BY_SSH, dashboard_is_on_loopback, ("127.0.0.1", "0.0.0.0")),
    ("`ray up` copies no secret", BY_SSH, no_secret_is_copied, (r"rsync_filter: .*", "rsync_filter: []")),
    (
        "credentials of a role are given to sessions alone",
        [AWS],
        lambda text: all(kind["MetadataOptions"]["HttpTokens"] == "required" for kind in clouds(text)),
        ("HttpTokens: required", "HttpTokens: optional"),
    ),
    (
        "disks are encrypted",
        [AWS],
        lambda text: all(
            disk["Ebs"]["Encrypted"] for kind in clouds(text) for disk in kind["BlockDeviceMappings"]
        ),
        ("Encrypted: true", "Encrypted: false"),
    ),
    (
        "each machine has a role of its kind",
        [AWS],
        lambda text: (
            [kind["IamInstanceProfile"]["Name"] for kind in clouds(text)]
            == ["secateur-head", "secateur-storage", "secateur-storage"]
        ),
        ("Name: secateur-storage", "Name: secateur-head"),
    ),
    (
        "a machine starts from what has not been changed below its system",
        [GCP],
        lambda text: all(
            kind["shieldedInstanceConfig"] == {"enableVtpm": True, "enableIntegrityMonitoring": True}
            for kind in clouds(text)
        ),
        ("enableVtpm: true", "enableVtpm: false"),
    ),
    (
        "workers have a role for storage alone",
        [GCP],
        lambda text: all("secateur-storage" in str(kind["serviceAccounts"]) for kind in clouds(text)[1:]),
        ("email: secateur-storage", "email: owner"),
    ),
    (
        "no pod runs as root",
        KUBERNETES,
        lambda text: all(pod["securityContext"]["runAsNonRoot"] for pod in spec(text)[1].values()),
        ("runAsNonRoot: true", "runAsNonRoot: false"),
    ),
    (
        "system calls are filtered",
        KUBERNETES,
        lambda text: all("RuntimeDefault" in str(pod["securityContext"]) for pod in spec(text)[1].values()),
        ("RuntimeDefault", "Unconfined"),
    ),
    (
        "no process gains rights, the autoscaler's neither",
        KUBERNETES,
        lambda text: all(
            each["securityContext"] == CONFINED["const"]
            for each in [*containers(text), spec(text)[0]["autoscalerOptions"]]
        ),
        ("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"),
    ),
    (
        "only the head's autoscaler may ask Kubernetes",
        KUBERNETES,
        only_the_head_asks_kubernetes,
        ("automountServiceAccountToken: false", "automountServiceAccountToken: true"),
    ),
    (
        "images have a version",
        KUBERNETES,
        lambda text: all(each["image"].endswith(f":{VERSION}") for each in containers(text)),
        (f"secateur:{re.escape(VERSION)}", "secateur"),
    ),
    ("pods have limits", KUBERNETES, limits_are_set, ("limits: {cpu", "limits: {x")),
    (
        "the token is a secret that the operator makes",
        KUBERNETES,
        lambda text: spec(text)[0]["authOptions"] == {"mode": "token"} and "AUTH_TOKEN:" not in text,
        ("mode: token", "mode: none"),
    ),
    (
        "the head has no address outside",
        KUBERNETES,
        lambda text: spec(text)[0]["headGroupSpec"]["serviceType"] == "ClusterIP",
        ("serviceType: ClusterIP", "serviceType: LoadBalancer"),
    ),
    (
        "nobody else reaches the pods",
        ["deploy/kuberay-network.yaml"],
        nobody_else_reaches_the_pods,
        (r"podSelector: \{matchLabels: \{job-name: secateur-sweep\}\}", "podSelector: {matchLabels: {}}"),
    ),
    (
        "the image of Ray is named by its digest",
        ["deploy/Dockerfile"],
        lambda text: (
            re.findall(r"^(?:ARG|FROM) .*", text, re.MULTILINE) == ["ARG RAY", "FROM rayproject/ray@${RAY}"]
        ),
        ("ray@", "ray:"),
    ),
    (
        "the image does not run as root",
        ["deploy/Dockerfile"],
        lambda text: re.findall(r"^USER .*", text, re.MULTILINE)[-1:] == ["USER ray"],
        ("USER ray", "USER root"),
    ),
]
HELD = [(point, name, held, fault) for point, names, held, fault in POINTS for name in names]
# What is held elsewhere: a script is no description (tests/integration/test_aws.py and test_slurm.py).
SCRIPTS = {"deploy/aws_storage.py", "deploy/slurm.sbatch"}


@pytest.mark.parametrize(("point", "name", "held", "fault"), HELD)
def test_a_point_of_hardening_is_held_and_its_opposite_is_found(point, name, held, fault):
    text = (ROOT / name).read_text()
    assert held(text), f"{name}: {point}"
    changed, count = re.subn(*fault, text)
    assert count and not held(changed), f"{name}: the check of '{point}' finds no fault"


def test_every_file_of_a_deployment_is_held():
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "deploy").iterdir() if path.is_file()}
    assert files | {"cluster.yaml"} == SCRIPTS | {name for _, name, *_ in HELD}


def listed():
    """The command of docs/cluster.md that lists what `ray up` copies."""
    page = (ROOT / "docs" / "cluster.md").read_text()
    [command] = re.findall(r"^(rsync --archive --dry-run [^#\n]*)", page, re.MULTILINE)
    return shlex.split(command)


@pytest.mark.skipif(not shutil.which("rsync"), reason="no rsync: what `ray up` copies is not listed")
def test_what_ray_copies_has_no_secret_and_no_result(tmp_path):
    secrets = [
        ".env",
        ".env.local",
        "aws.pem",
        "deploy/own.key",
        "id_ed25519",
        "docs/id_rsa.pub",
        ".aws/config",
    ]
    others = ["results/x/trials.parquet", "data/mnist", ".venv/bin/python"]
    kept = ["sweep/launch.py", "studies/own.yaml", ".git/HEAD", ".gitignore"]
    for name in [*secrets, *others, *kept]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    command = listed()
    options = {"rsync_filter": load("cluster.yaml")["rsync_filter"]}
    rays = SSHCommandRunner._create_rsync_filter_args(None, options)
    assert [each.removeprefix("--filter=") for each in command if "filter" in each] == rays[1:]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert sorted(line for line in done.stdout.splitlines() if not line.endswith("/")) == sorted(kept)


def test_an_image_holds_no_secret_either():
    _, *patterns = (ROOT / ".gitignore").read_text().partition("# Secrets")[2].splitlines()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert patterns and [f"**/{each.rstrip('/')}" for each in patterns] == ignored[-len(patterns) :]
