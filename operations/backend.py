"""Choose where a team keeps Pulumi's state, a Space of its own or Pulumi Cloud; and get an earlier state back."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import click
import yaml
from botocore.exceptions import BotoCoreError, ClientError

from operations.errors import OperationError
from operations.spaces import client
from operations.stack import Stack, of_stack, pulumi
from sizing.regions import spaces_endpoint

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
SHOWN = 20  # states, the newest ones
PAUSE = timedelta(seconds=2)

Json = Any


class BackendError(OperationError):
    """The backend is not as it must be; the text says what to do."""


def login(name: str, region: str) -> str:
    """Return the command that makes a Space the backend."""
    # Amazon's client insists on a region, and warns of each answer without a checksum, which Spaces' are.
    options = f"endpoint={spaces_endpoint(region)}&region={region}&response_checksum_validation=when_required"
    return f"pulumi login 's3://{name}?{options}'"


def make_space(name: str, region: str) -> bool:
    """Make a private, versioned Space, or one that is there versioned; tell whether it is new."""
    if not NAME.fullmatch(name):
        raise BackendError(f'--name: must be 3 to 63 of a-z, 0-9 and -, not at its ends, got "{name}"; take another')
    keys = [os.environ.get(variable) for variable in ("SPACES_ACCESS_KEY_ID", "SPACES_SECRET_ACCESS_KEY")]
    if not all(keys):
        raise BackendError(
            "SPACES_ACCESS_KEY_ID, SPACES_SECRET_ACCESS_KEY: must be set, got nothing; export a key of the account "
            "with full access (control panel: Spaces, Access Keys)"
        )
    spaces = client(spaces_endpoint(region), *keys)
    new = not _exists(spaces, name)
    if new:
        spaces.create_bucket(Bucket=name, ACL="private")
    everybody = [
        grant["Permission"] for grant in spaces.get_bucket_acl(Bucket=name)["Grants"] if "URI" in grant["Grantee"]
    ]
    if everybody or _has_policy(spaces, name):
        what = f"everybody has {', '.join(everybody)}" if everybody else "it has a bucket policy"
        raise BackendError(f"{name}: must be private, but {what}; take another name, or take that away from it first")
    spaces.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    status = spaces.get_bucket_versioning(Bucket=name).get("Status")
    if status != "Enabled":
        raise BackendError(f"{name}: must be versioned, is {status}; look at it in the control panel")
    return new


def _exists(spaces: "S3Client", name: str) -> bool:
    try:
        spaces.head_bucket(Bucket=name)
    except ClientError as error:
        if error.response["Error"]["Code"] == "403":
            raise BackendError(
                f"{name}: must be yours, belongs to somebody else (or the key is limited); take another"
            ) from error
        if error.response["Error"]["Code"] == "404":
            return False
        raise
    return True


def _has_policy(spaces: "S3Client", name: str) -> bool:
    try:
        spaces.get_bucket_policy(Bucket=name)
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchBucketPolicy":
            return False
        raise
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class States:
    """All versions of a stack's state, in a Space."""

    spaces: "S3Client"
    bucket: str
    key: str

    @classmethod
    def of(cls, stack: Stack) -> "States":
        """Return those of a stack in the backend that Pulumi is logged in to."""
        url = json.loads(pulumi("whoami", "--json"))["url"]
        parts = urlsplit(url)
        if parts.scheme != "s3":
            raise BackendError(
                f'backend: must be a Space (s3://…), is "{url}"; Pulumi Cloud has its own: '
                f"pulumi stack export -s {stack.name} --version N | pulumi stack import -s {stack.name}"
            )
        at = parse_qs(parts.query).get("endpoint", [""])[0]
        if not at.startswith("https://"):
            raise BackendError(
                f'backend: must name its endpoint, https://REGION.digitaloceanspaces.com, got "{url}"; '
                "log in with what `python -m operations backend space` prints"
            )
        name = yaml.safe_load((stack.project / "Pulumi.yaml").read_text(encoding="utf-8"))["name"]
        key = "/".join(filter(None, [parts.path.strip("/"), ".pulumi/stacks", name, f"{stack.name}.json"]))
        return cls(spaces=client(at), bucket=parts.netloc, key=key)

    def versions(self) -> list[tuple[datetime, str]]:
        """Return time and id of each, the newest first."""
        pages = self.spaces.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=self.key)
        found = [version for page in pages for version in page.get("Versions", []) if version["Key"] == self.key]
        if not found:
            raise BackendError(
                f"{self.bucket}/{self.key}: must be there, is not; look at --stack, --project and the login"
            )
        return [(version["LastModified"], version["VersionId"]) for version in found]

    def read(self, version: str) -> Json:
        """Return the state of that time, in the form that `pulumi stack import` takes; none for a stack that is new."""
        body = self.spaces.get_object(Bucket=self.bucket, Key=self.key, VersionId=version)["Body"].read()
        document = json.loads(body)
        return {"version": document["version"], "deployment": document["checkpoint"].get("latest")}

    def settled(self) -> Iterator[tuple[datetime, str, int]]:
        """Yield time, id and number of resources of those that an update has ended with, the newest first."""
        later = None
        for time, version in self.versions():
            # An update writes one for each of its steps; a pause with nothing pending is between two updates.
            if later is None or later - time > PAUSE:
                state = self.read(version)["deployment"]
                if state and not state.get("pending_operations"):
                    yield time, version, len(state.get("resources") or [])
            later = time


@contextmanager
def explained() -> Iterator[None]:
    """Let what the client of Spaces says be the error."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise BackendError(str(error)) from error


@click.command()
@click.option("--name", required=True, help="Of the Space: unique among everybody's.")
@click.option("--region", required=True, help="Such as fra1.")
def space(name: str, region: str) -> None:
    """Make or check a private, versioned Space, and print the login."""
    with explained():
        new = make_space(name, region)
    click.echo(f"{name}: {'was made' if new else 'is there'}, private and versioned", err=True)
    click.echo(login(name, region))


@click.command()
@click.option("--organisation", required=True, help="Whose stacks they are.")
def cloud(organisation: str) -> None:
    """Print the login to Pulumi Cloud."""
    click.echo(f"pulumi login\npulumi org set-default {organisation}")


@click.command()
@of_stack
@click.option("--restore", metavar="VERSION", help="Make this one the stack's state.")
def earlier(stack: Stack, restore: str | None) -> None:
    """List the states that a stack has had, or go back to one."""
    with explained():
        states = States.of(stack)
        if restore:
            stack.run("stack import", given=json.dumps(states.read(restore)), shown=True)
            return
        for time, version, resources in islice(states.settled(), SHOWN):
            click.echo(f"{time:%Y-%m-%d %H:%M:%S}  {version}  {resources} resources")
