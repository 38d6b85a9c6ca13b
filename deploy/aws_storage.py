"""`python deploy/aws_storage.py BUCKET`: the bucket for results, and the roles of cluster.yaml's machines.

Workers may use the bucket; the head may also start and stop machines with the workers' role. When it is run
again, it adds what is missing. `AWS_REGION` or `aws configure` says where.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import boto3
from botocore.exceptions import ClientError

HEAD, WORKER = "secateur-head", "secateur-storage"
_EXISTS = ("EntityAlreadyExists", "BucketAlreadyOwnedByYou", "LimitExceeded")


def unless_there(make: Callable[..., Any], **what: Any) -> None:
    """Make something, or see that it is there: a role, or a profile that has its one role."""
    try:
        make(**what)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _EXISTS:
            raise


def allow(*actions: str, on: list[str]) -> dict[str, Any]:
    """What a role may do."""
    return {"Effect": "Allow", "Action": list(actions), "Resource": on}


def main(bucket: str) -> None:
    """Make all that is missing."""
    s3, iam = boto3.client("s3"), boto3.client("iam")
    region = s3.meta.region_name
    place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    unless_there(s3.create_bucket, Bucket=bucket, **place)
    storage = allow(
        *("s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"),
        on=[f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
    )
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}
    for role in (WORKER, HEAD):
        statements = [storage]
        if role == HEAD:
            passed = iam.get_role(RoleName=WORKER)["Role"]["Arn"]
            statements += [allow("ec2:*", on=["*"]), allow("iam:PassRole", on=[passed])]
            # For Ray to see that the profile is there.
            statements += [allow("iam:GetInstanceProfile", on=["*"])]
        unless_there(
            iam.create_role,
            RoleName=role,
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        )
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_role_policy(RoleName=role, PolicyName="secateur", PolicyDocument=policy)
        unless_there(iam.create_instance_profile, InstanceProfileName=role)
        unless_there(iam.add_role_to_instance_profile, InstanceProfileName=role, RoleName=role)
    print(f"s3://{bucket} is there, and the roles {HEAD} and {WORKER}: ray up cluster.yaml")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
