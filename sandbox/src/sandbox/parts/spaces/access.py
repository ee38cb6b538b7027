"""Who may do what in Spaces: one RGW user per limited key, whose IAM policy is the grants.

An account-wide key belongs to the account's own user.
"""

import json
from typing import Any

import boto3
from botocore.config import Config
from rgwadmin.exceptions import NoSuchUser
from rgwadmin.rgw import RGWAdmin

from sandbox.model.realiser import Grant
from sandbox.parts.spaces.ceph import ACCOUNT, ADDRESS, gateway_port
from sandbox.world.world import World

# What a grant of the Spaces API allows, as S3 actions. The exact list is assumed; PutObjectAcl is in "readwrite"
# because uploads with a canned ACL need it.
_READ = (
    "s3:GetObject",
    "s3:GetObjectVersion",
    "s3:ListBucket",
    "s3:ListBucketVersions",
    "s3:GetBucketLocation",
    "s3:ListBucketMultipartUploads",
    "s3:ListMultipartUploadParts",
)
_WRITE = ("s3:PutObject", "s3:PutObjectAcl", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:AbortMultipartUpload")
_ACTIONS = {"read": _READ, "readwrite": _READ + _WRITE, "fullaccess": ("s3:*",)}


def put(world: World, region: str, access_key: str, secret_key: str, grants: list[Grant]) -> None:
    """Make a key or change what it may do, in a region whose gateway runs."""
    admin = _admin(world, region)
    if any(not grant.bucket for grant in grants):
        _remove_limited_user(admin, access_key)
        admin.create_key(uid=ACCOUNT, access_key=access_key, secret_key=secret_key, generate_key=False)
        open_to_account(world, region)
        return
    _remove_account_key(world, region, access_key)
    uid = _uid(access_key)
    try:
        admin.get_user(uid=uid)
    except NoSuchUser:
        # max_buckets=-1: a limited key can't create buckets.
        admin.create_user(
            uid=uid,
            display_name=uid,
            access_key=access_key,
            secret_key=secret_key,
            max_buckets=-1,
            generate_key=False,
        )
    document = json.dumps(_policy(grants))
    _iam(world, region).put_user_policy(UserName=uid, PolicyName="grants", PolicyDocument=document)


def remove(world: World, region: str, access_key: str) -> None:
    """Revoke a key; what it wrote stays."""
    _remove_account_key(world, region, access_key)
    _remove_limited_user(_admin(world, region), access_key)


def _remove_account_key(world: World, region: str, access_key: str) -> None:
    admin = _admin(world, region)
    if any(key["access_key"] == access_key for key in admin.get_user(uid=ACCOUNT)["keys"]):
        admin.remove_key(access_key=access_key, key_type="s3", uid=ACCOUNT)
        open_to_account(world, region)


def _remove_limited_user(admin: Any, access_key: str) -> None:  # noqa: ANN401 - rgwadmin has no types
    try:
        admin.get_user(uid=_uid(access_key))
    except NoSuchUser:
        return
    # Objects stay: they are in the account's buckets, and the account may read them by its own policy.
    admin.remove_user(uid=_uid(access_key), purge_data=False)


def open_to_account(world: World, region: str) -> None:
    """Let the account read everything; to be said again whenever its keys have changed: the gateway forgets it then."""
    # Without this policy the account could not read what limited keys wrote: such objects belong to the keys' users.
    statement = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    _iam(world, region).put_user_policy(UserName=ACCOUNT, PolicyName="all", PolicyDocument=json.dumps(document))


def _policy(grants: list[Grant]) -> dict[str, Any]:
    statements = [
        {
            "Effect": "Allow",
            "Action": list(_ACTIONS[grant.permission]),
            "Resource": [f"arn:aws:s3:::{grant.bucket}", f"arn:aws:s3:::{grant.bucket}/*"],
        }
        for grant in grants
    ]
    # A policy needs a statement, and the gateway refuses to delete one that is not there.
    nothing = {"Effect": "Deny", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}
    return {"Version": "2012-10-17", "Statement": statements or [nothing]}


def _uid(access_key: str) -> str:
    return f"key-{access_key}"


def _admin(world: World, region: str) -> Any:  # noqa: ANN401 - rgwadmin has no types
    return RGWAdmin(  # type: ignore[no-untyped-call]
        access_key=world.spaces_access_key,
        secret_key=world.spaces_secret_key,
        server=f"{ADDRESS}:{gateway_port(region)}",
        secure=False,
        timeout=60,
    )


def _iam(world: World, region: str) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
    return boto3.client(
        "iam",
        endpoint_url=f"http://{ADDRESS}:{gateway_port(region)}",
        region_name="us-east-1",
        aws_access_key_id=world.spaces_access_key,
        aws_secret_access_key=world.spaces_secret_key,
        config=Config(proxies={}, retries={"total_max_attempts": 3}),
    )
