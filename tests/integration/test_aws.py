"""What `ray up cluster.yaml` asks of AWS, up to where it would log in to a machine: Ray's own code, against moto."""

import subprocess
import sys
from pathlib import Path

import boto3
import pytest
import yaml

from tests import stores

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture
def aws(s3_port, monkeypatch, tmp_path):
    """An account of which nobody else knows, and a home for its keys."""
    for name, value in {
        **stores.environment(s3_port),
        "AWS_REGION": "us-west-2",
        "HOME": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")


def test_a_bucket_roles_and_machines_that_others_reach_by_ssh_alone(aws):
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.util import prepare_config

    command = [sys.executable, str(ROOT / "deploy" / "aws_storage.py"), "studies"]
    for _ in range(2):
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert (
            said
            == "s3://studies is there, and the roles secateur-head and secateur-storage: ray up cluster.yaml\n"
        )
    iam = boto3.client("iam")
    rights = {
        role: str(iam.get_role_policy(RoleName=role, PolicyName="secateur")["PolicyDocument"])
        for role in ("secateur-head", "secateur-storage")
    }
    assert all("arn:aws:s3:::studies/*" in right for right in rights.values())
    assert [right.count("ec2:*") + right.count("role/secateur-storage") for right in rights.values()] == [
        2,
        0,
    ]

    config = bootstrap_aws(prepare_config(yaml.safe_load((ROOT / "cluster.yaml").read_text())))
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for name, kind in config["available_node_types"].items():
        provider.create_node(kind["node_config"], {"ray-user-node-type": name}, 1)
    ec2 = boto3.client("ec2")
    started = [each for some in ec2.describe_instances()["Reservations"] for each in some["Instances"]]
    assert [(each["InstanceType"], each.get("InstanceLifecycle")) for each in started] == [
        ("m7i.xlarge", None),
        ("g6.4xlarge", None),
        ("g6.4xlarge", "spot"),
    ]
    profiles = [each["IamInstanceProfile"]["Arn"].rpartition("/")[2] for each in started]
    assert profiles == ["secateur-head", "secateur-storage", "secateur-storage"]
    groups = {group["GroupId"] for each in started for group in each["SecurityGroups"]}
    [group] = ec2.describe_security_groups(GroupIds=sorted(groups))["SecurityGroups"]
    world = [(rule["FromPort"], rule["ToPort"]) for rule in group["IpPermissions"] if rule["IpRanges"]]
    assert world == [(22, 22)], "of all ports, ssh's alone is open to others than these machines"
    provider.terminate_nodes([each["InstanceId"] for each in started])
