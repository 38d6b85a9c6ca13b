"""`python deploy/aws_storage.py BUCKET`: the bucket for results, and the roles of cluster.yaml's machines.

The bucket is closed to the public, encrypts what is in it, and is reached through TLS alone. Workers may use
it; the head may also start machines of this cluster with the workers' role, and end those that bear the
cluster's tag. When it is run again, it adds what is missing, and the roles may do what is written here and
nothing else. `AWS_REGION` or `aws configure` says where.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.exceptions import BotoCoreError, ClientError

HEAD, WORKER = "secateur-head", "secateur-storage"
CLUSTER = Path(__file__).parent.parent / "cluster.yaml"
TAG = "ray-cluster-name"  # that Ray gives to each machine as it starts it
TLS_ONLY = "secateur-tls-only"
_EXISTS = ("EntityAlreadyExists", "BucketAlreadyOwnedByYou", "LimitExceeded")


def unless_there(make: Callable[..., Any], **what: Any) -> None:
    """Make something, or see that it is there: a role, or a profile that has its one role."""
    try:
        make(**what)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _EXISTS:
            raise


def found(get: Callable[..., Any], missing: str, **what: Any) -> Any:
    """What the bucket has of a setting; None if it has none, which is the error of this code."""
    try:
        return get(**what)
    except ClientError as error:
        if error.response["Error"]["Code"] != missing:
            raise
        return None


def allow(*actions: str, on: list[str], when: dict[str, str] | None = None) -> dict[str, Any]:
    """What a role may do, on what, and with which values in the request or on what it is done to."""
    condition = {"Condition": {"StringEquals": when}} if when else {}
    return {"Effect": "Allow", "Action": list(actions), "Resource": on, **condition}


def storage(bucket: str) -> list[dict[str, Any]]:
    """What every machine may do."""
    actions = ("s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject")
    return [allow(*actions, on=[f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"])]


def machines(cluster: str, passed: str) -> list[dict[str, Any]]:
    """What Ray asks of EC2 on the head (AWSNodeProvider of Ray 2.60), with what cluster.yaml says to it.

    For the rest (keys, security groups, subnets) `ray up` asks, with the rights of who runs it.

    Args:
        cluster: the name in cluster.yaml.
        passed: the ARN of the workers' role.
    """
    own, asked = {f"aws:ResourceTag/{TAG}": cluster}, {f"aws:RequestTag/{TAG}": cluster}
    instances = ["arn:aws:ec2:*:*:instance/*"]
    # What else a machine is started with; these bear no tag of the cluster.
    parts = ("image", "key-pair", "network-interface", "security-group", "spot-instances-request", "subnet")
    return [
        allow("ec2:DescribeInstances", on=["*"]),  # it is allowed for all or for none
        allow("ec2:RunInstances", on=instances, when=asked),
        allow("ec2:RunInstances", on=[f"arn:aws:ec2:*:*:{part}/*" for part in (*parts, "volume")]),
        # A tag is given as a machine starts, or to one that has the cluster's: nobody else's becomes its own.
        allow("ec2:CreateTags", on=instances, when=asked | {"ec2:CreateAction": "RunInstances"}),
        allow("ec2:CreateTags", "ec2:TerminateInstances", on=instances, when=own),
        allow("iam:PassRole", on=[passed], when={"iam:PassedToService": "ec2.amazonaws.com"}),
    ]


def close(s3: Any, bucket: str) -> None:
    """State what Amazon's defaults are today, and refuse what comes without TLS; other statements stay."""
    switches = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(switches, True))
    # Unless it is encrypted already, maybe with a key of its owner.
    missing = "ServerSideEncryptionConfigurationNotFoundError"
    if not found(s3.get_bucket_encryption, missing, Bucket=bucket):
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    policy = found(s3.get_bucket_policy, "NoSuchBucketPolicy", Bucket=bucket)
    statements = json.loads(policy["Policy"])["Statement"] if policy else []
    statements = statements if isinstance(statements, list) else [statements]  # Amazon takes one as it is
    kept = [each for each in statements if each.get("Sid") != TLS_ONLY]
    refused = {
        "Sid": TLS_ONLY,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=document(*kept, refused))


def document(*statements: dict[str, Any]) -> str:
    """A policy."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def main(bucket: str) -> None:
    """Make all that is missing."""
    s3, iam = boto3.client("s3"), boto3.client("iam")
    region = s3.meta.region_name
    place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    unless_there(s3.create_bucket, Bucket=bucket, **place)
    close(s3, bucket)
    cluster = yaml.safe_load(CLUSTER.read_text(encoding="utf-8"))["cluster_name"]
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}
    for role in (WORKER, HEAD):
        unless_there(iam.create_role, RoleName=role, AssumeRolePolicyDocument=document(trust))
        statements = storage(bucket)
        if role == HEAD:
            statements += machines(cluster, iam.get_role(RoleName=WORKER)["Role"]["Arn"])
        iam.put_role_policy(RoleName=role, PolicyName="secateur", PolicyDocument=document(*statements))
        unless_there(iam.create_instance_profile, InstanceProfileName=role)
        unless_there(iam.add_role_to_instance_profile, InstanceProfileName=role, RoleName=role)
    print(f"s3://{bucket} is there, and the roles {HEAD} and {WORKER}: ray up cluster.yaml")


def refuse(message: str) -> None:
    """One line, and exit code 2."""
    print(" ".join(message.split()), file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        refuse("usage: python deploy/aws_storage.py BUCKET")
    try:
        main(sys.argv[1])
    except (ClientError, BotoCoreError) as error:  # no such name, somebody else's, no credentials, no region
        refuse(f"{sys.argv[1]}: {error}: see what is given and exported, and run it again")
