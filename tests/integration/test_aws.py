"""What `ray up cluster.yaml` asks of AWS, up to where it would log in to a machine: Ray's own code, against moto."""

import importlib
import json
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core import set_initial_no_auth_action_count
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.aws.utils import client_cache, resource_cache
from ray.autoscaler._private.util import prepare_config

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
    boto3.setup_default_session()
    resource_cache.cache_clear()
    client_cache.cache_clear()


def storage(*names):
    command = [sys.executable, str(ROOT / "deploy" / "aws_storage.py"), *names]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_bucket_roles_and_machines_that_others_reach_by_ssh_alone(aws):
    for _ in range(2):
        done = storage("studies")
        assert (
            done.stdout
            == "s3://studies is there, and the roles secateur-head and secateur-storage: ray up cluster.yaml\n"
        )
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
    assert {each["MetadataOptions"]["HttpTokens"] for each in started} == {"required"}
    assert all(volume["Encrypted"] for volume in ec2.describe_volumes()["Volumes"])
    groups = {group["GroupId"] for each in started for group in each["SecurityGroups"]}
    [group] = ec2.describe_security_groups(GroupIds=sorted(groups))["SecurityGroups"]
    world = [(rule["FromPort"], rule["ToPort"]) for rule in group["IpPermissions"] if rule["IpRanges"]]
    assert world == [(22, 22)], "of all ports, ssh's alone is open to others than these machines"
    provider.terminate_nodes([each["InstanceId"] for each in started])


def test_a_bucket_is_closed_encrypted_and_reached_through_tls_alone(aws):
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="closed", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    own = {
        "Sid": "own",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::closed/x",
    }
    s3.put_bucket_policy(Bucket="closed", Policy=json.dumps({"Version": "2012-10-17", "Statement": own}))
    for _ in range(2):
        assert storage("closed").returncode == 0
        closed = s3.get_public_access_block(Bucket="closed")["PublicAccessBlockConfiguration"]
        assert len(closed) == 4 and all(closed.values())
        [rule] = s3.get_bucket_encryption(Bucket="closed")["ServerSideEncryptionConfiguration"]["Rules"]
        assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
        kept, tls = json.loads(s3.get_bucket_policy(Bucket="closed")["Policy"])["Statement"]
        assert kept == own, "what the owner refuses stays refused"
        assert (tls["Effect"], tls["Principal"], tls["Action"]) == ("Deny", "*", "s3:*")
        assert tls["Resource"] == ["arn:aws:s3:::closed", "arn:aws:s3:::closed/*"]
        assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_a_key_that_a_bucket_is_encrypted_with_stays(aws):
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="keyed", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    own = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/own"}
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": own}]}
    s3.put_bucket_encryption(Bucket="keyed", ServerSideEncryptionConfiguration=rules)
    assert storage("keyed").returncode == 0
    [rule] = s3.get_bucket_encryption(Bucket="keyed")["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == own


@pytest.mark.parametrize("names", [("No_Such_Bucket!",), ("x",), (), ("one", "two")])
def test_a_name_that_no_bucket_can_have_is_one_line(aws, names):
    done = storage(*names)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and not done.stdout


def refused(call, **what):
    """Whether the account refuses a call, and no other error ends it."""
    try:
        call(**what)
    except ClientError as error:
        return error.response["Error"]["Code"] in ("AccessDenied", "UnauthorizedOperation")
    return False


@mock_aws
def test_an_account_that_asks_for_rights_lets_each_role_do_its_work_and_nothing_else(monkeypatch):
    """Moto looks at actions and resources; conditions are held by the test below."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    boto3.setup_default_session()
    monkeypatch.syspath_prepend(str(ROOT / "deploy"))
    importlib.import_module("aws_storage").main("studies")
    # Moto takes a statement whose condition it cannot see for a refusal.
    boto3.client("s3").delete_bucket_policy(Bucket="studies")
    boto3.client("s3").create_bucket(
        Bucket="of-others", CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
    )
    sts, iam = boto3.client("sts"), boto3.client("iam")
    sessions = {}
    for name in ("secateur-head", "secateur-storage"):
        arn = iam.get_role(RoleName=name)["Role"]["Arn"]
        given = sts.assume_role(RoleArn=arn, RoleSessionName="machine")["Credentials"]
        sessions[name] = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])

    @set_initial_no_auth_action_count(0)
    def rights_are_asked_for():
        for name, session in sessions.items():
            s3, ec2 = session.client("s3"), session.client("ec2")
            s3.put_object(Bucket="studies", Key="results/part", Body=b"rows")
            assert s3.get_object(Bucket="studies", Key="results/part")["Body"].read() == b"rows"
            assert s3.list_objects_v2(Bucket="studies")["KeyCount"] == 1
            s3.delete_object(Bucket="studies", Key="results/part")
            assert refused(s3.list_objects_v2, Bucket="of-others")
            assert refused(s3.put_object, Bucket="of-others", Key="x", Body=b"")
            assert refused(s3.delete_bucket, Bucket="studies")
            assert refused(s3.put_bucket_policy, Bucket="studies", Policy="{}")
            assert refused(ec2.describe_instances) == (name == "secateur-storage")
            assert refused(ec2.create_security_group, GroupName="open", Description="x")
            assert refused(ec2.delete_volume, VolumeId="vol-1")
            assert refused(session.client("iam").create_role, RoleName="x", AssumeRolePolicyDocument="{}")
            assert refused(session.client("iam").list_users)

    rights_are_asked_for()


def permitted(statements, action, resource, context):
    """Whether a role may do this: as IAM says it, of what the statements use. Moto looks at actions alone."""
    return any(
        action in each["Action"]
        and any(fnmatchcase(resource, pattern) for pattern in each["Resource"])
        and each.get("Condition", {}).get("StringEquals", {}).items() <= context.items()
        for each in statements
    )


def asked(operation, params, roles, tags):
    """What IAM is asked for a call of EC2: action, resource and context of each part (EC2's authorization reference)."""
    arn = "arn:aws:ec2:us-west-2:123456789012:"

    def of(given, kind):
        return {f"aws:{kind}Tag/{tag['Key']}": tag["Value"] for tag in given}

    if operation == "RunInstances":
        [named] = params["TagSpecifications"]
        new = of(named["Tags"], "Request")
        yield "ec2:RunInstances", f"{arn}instance/*", new
        yield "ec2:CreateTags", f"{arn}instance/*", new | {"ec2:CreateAction": operation}
        kinds = ["subnet", "security-group", "key-pair", "network-interface", "volume"]
        for kind in kinds + ["spot-instances-request"] * ("InstanceMarketOptions" in params):
            yield "ec2:RunInstances", f"{arn}{kind}/x", {}
        yield "ec2:RunInstances", "arn:aws:ec2:us-west-2::image/x", {}
        role = roles[params["IamInstanceProfile"]["Name"]]
        yield "iam:PassRole", role, {"iam:PassedToService": "ec2.amazonaws.com"}
    elif operation == "DescribeInstances":
        yield "ec2:DescribeInstances", "*", {}
    else:
        for machine in params.get("InstanceIds", params.get("Resources")):
            context = of(params.get("Tags", []), "Request") | of(tags[machine], "Resource")
            yield f"ec2:{operation}", f"{arn}instance/{machine}", context


def test_the_head_may_do_what_ray_asks_for_on_it_with_its_own_machines_and_nothing_else(aws):
    assert storage("studies").returncode == 0
    iam, ec2 = boto3.client("iam"), boto3.client("ec2")
    names = ("secateur-head", "secateur-storage")
    roles = {name: iam.get_role(RoleName=name)["Role"]["Arn"] for name in names}
    head, worker = (
        iam.get_role_policy(RoleName=name, PolicyName="secateur")["PolicyDocument"]["Statement"]
        for name in names
    )
    assert head[0] == worker[0] and len(worker) == 1 and "studies/*" in str(worker)
    config = bootstrap_aws(prepare_config(yaml.safe_load((ROOT / "cluster.yaml").read_text())))
    calls, tags = [], {}

    def note(params, model, **_):
        calls.append((model.name, params))

    def live(cluster):
        """All that Ray does with machines on the head of a cluster."""
        calls.clear()
        boto3.DEFAULT_SESSION.events.register("before-parameter-build.ec2", note)
        resource_cache.cache_clear()
        provider = AWSNodeProvider(config["provider"], cluster)
        for name in ("gpu.on-demand", "gpu.spot"):
            kind = config["available_node_types"][name]["node_config"]
            provider.create_node(kind, {"ray-user-node-type": name, "ray-node-name": "ray-worker"}, 1)
        ids = provider.non_terminated_nodes({})
        for each in ids:
            provider.set_node_tags(each, {"ray-node-status": "up-to-date"})
            assert provider.is_running(each) and provider.internal_ip(each) and provider.node_tags(each)
            provider.external_ip(each)
        provider.terminate_node(ids[0])
        provider.terminate_nodes(ids[1:])
        provider.is_terminated(ids[0])
        boto3.DEFAULT_SESSION.events.unregister("before-parameter-build.ec2", note)
        for some in ec2.describe_instances(InstanceIds=ids)["Reservations"]:
            tags.update({each["InstanceId"]: each["Tags"] for each in some["Instances"]})
        return [part for operation, params in calls for part in asked(operation, params, roles, tags)]

    own = live(config["cluster_name"])
    assert [part for part in own if not permitted(head, *part)] == []
    granted = {action for each in head[1:] for action in each["Action"]}
    assert granted == {action for action, *_ in own}, "nothing that Ray does not ask for"
    changed = ("ec2:CreateTags", "ec2:TerminateInstances")
    others = live("of-somebody-else")
    assert len(others) == len(own)
    assert not any(permitted(head, *part) for part in others if part[0] in changed)
    assert not any(permitted(head, *part) for part in others if part[1].endswith("instance/*"))
    # A machine of somebody else does not become one of its own by a tag.
    machine = next(part[1] for part in others if part[0] == "ec2:TerminateInstances")
    taken = {
        "aws:RequestTag/ray-cluster-name": config["cluster_name"],
        "aws:ResourceTag/ray-cluster-name": "other",
    }
    assert not permitted(head, "ec2:CreateTags", machine, taken)
    passed = {"iam:PassedToService": "ec2.amazonaws.com"}
    assert not permitted(head, "iam:PassRole", roles["secateur-head"], passed)
    assert not any(permitted(worker, *part) for part in own)
