"""Take over what an update had begun to make when it was killed, so that the next one goes on from there."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import pulumi
from botocore.exceptions import ClientError

from config.state_folder import state_folder
from operations.errors import OperationError
from operations.spaces import client
from operations.stack import Stack, of_stack
from provider import api
from sizing.regions import spaces_endpoint

SECONDS = 60.0  # for one answer

Inputs = Mapping[str, Any]


class RecoveryError(OperationError):
    """It can't be told what belongs to the stack; the text says what a person has to look at."""


class Account:
    """DigitalOcean's API, as far as it is asked what there is."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        token = api.token(environment)
        if not token:
            raise RecoveryError("DIGITALOCEAN_TOKEN: must be set, got nothing; export the token that `pulumi up` used")
        self._endpoint = api.endpoint(environment)
        self._api = api.Api(token, self._endpoint, SECONDS)

    def get(self, path: str) -> api.Body | None:
        """Return a document, or None when there is nothing of this name."""
        return self._api.get(path)

    def all(self, path: str, root: str) -> list[api.Body]:
        """Return the whole of a listing."""
        return list(api.every(self._listing, path, root))

    def _listing(self, path: str) -> api.Body:
        document = self.get(path)
        if document is None:
            listing = f"{self._endpoint}/v2/{path.partition('?')[0]}"
            raise RecoveryError(
                f"{listing}: must be a listing, got 404 (not found); what it belongs to is not in this account: "
                "check that DIGITALOCEAN_TOKEN is of the account that `pulumi up` used"
            )
        return document

    def only(self, path: str, root: str, key: str, **wanted: object) -> str | None:
        """Return the key of the one item of a listing that has these values; None without any."""
        found = [item for item in self.all(path, root) if wanted.items() <= item.items()]
        if len(found) > 1:
            raise RecoveryError(
                f"{path}: must have at most one with {wanted}, has {len(found)}; delete what is not the stack's"
            )
        return str(found[0][key]) if found else None

    def has_bucket(self, region: str, name: str) -> bool:
        """Tell whether a Space of the account has this name."""
        spaces = client(
            os.environ.get("AWS_ENDPOINT_URL_S3") or spaces_endpoint(region),
            os.environ.get("SPACES_ACCESS_KEY_ID"),
            os.environ.get("SPACES_SECRET_ACCESS_KEY"),
        )
        try:
            spaces.head_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"404", "NoSuchBucket"}:
                return False
            raise
        return True

    def revoke_key(self, name: str) -> None:
        """Delete the Spaces keys of this name: a key's secret is told once, and nobody has this one's."""
        for key in self.all("spaces/keys", "keys"):
            if key["name"] == name:
                self._api.delete(f"spaces/keys/{key['access_key']}")


def _cluster(account: Account, inputs: Inputs) -> str | None:
    # By its tag, too: another stack's cluster of this name is not ours to take.
    found = [item for item in account.all("databases", "databases") if item["name"] == inputs["name"]]
    return next((item["id"] for item in found if set(inputs.get("tags", [])) <= set(item["tags"] or [])), None)


def _in_cluster(path: str, middle: str) -> Callable[[Account, Inputs], str | None]:
    def find(account: Account, inputs: Inputs) -> str | None:
        there = account.get(f"databases/{inputs['clusterId']}/{path}/{inputs['name']}")
        return f"{inputs['clusterId']}{middle}{inputs['name']}" if there else None

    return find


def _record(account: Account, inputs: Inputs) -> str | None:
    if not account.get(f"domains/{inputs['domain']}"):
        return None  # it went with its domain, which the update makes again, too
    return account.only(
        f"domains/{inputs['domain']}/records", "domain_records", "id",
        type=inputs["type"], name=inputs["name"], data=inputs["value"],
    )  # fmt: skip


def _bucket(account: Account, inputs: Inputs) -> str | None:
    region, name = str(inputs["region"]), str(inputs["name"])
    return name if account.has_bucket(region, name) else None


def _key(account: Account, inputs: Inputs) -> str | None:
    account.revoke_key(str(inputs["name"]))
    return None


def _named(path: str) -> Callable[[Account, Inputs], str | None]:
    def find(account: Account, inputs: Inputs) -> str | None:
        return str(inputs["name"]) if account.get(f"{path}/{inputs['name']}") else None

    return find


def _listed(path: str, root: str, key: str = "id") -> Callable[[Account, Inputs], str | None]:
    def find(account: Account, inputs: Inputs) -> str | None:
        return account.only(path, root, key, name=inputs["name"])

    return find


# Kind -> the provider's id of what is there. What is not in here is made again; tests/unit/test_recover.py says why.
FINDERS: dict[str, Callable[[Account, Inputs], str | None]] = {
    "Vpc": _listed("vpcs", "vpcs"),
    "VpcNatGateway": _listed("vpc_nat_gateways", "vpc_nat_gateways"),
    "Tag": _named("tags"),
    "Domain": _named("domains"),
    "DnsRecord": _record,
    "SshKey": _listed("account/keys", "ssh_keys"),
    "Firewall": _listed("firewalls", "firewalls"),
    "Droplet": _listed("droplets", "droplets"),
    "LoadBalancer": _listed("load_balancers", "load_balancers"),
    "Certificate": _listed("certificates", "certificates", "name"),  # by its name, which a renewed one keeps
    "DatabaseCluster": _cluster,
    "DatabaseUser": _in_cluster("users", "/user/"),
    "DatabaseDb": _in_cluster("dbs", "/database/"),
    "DatabaseConnectionPool": _in_cluster("pools", "/"),
    "Cdn": lambda account, inputs: account.only("cdn/endpoints", "endpoints", "id", origin=inputs["origin"]),
    "MonitorAlert": lambda account, inputs: account.only(
        "monitoring/alerts", "policies", "uuid", description=inputs["description"]
    ),
    "ReservedIp": lambda account, inputs: _reserved_ip(account, str(inputs["region"])),
    "SpacesBucket": _bucket,
    "SpacesKey": _key,
}


def _reserved_ip(account: Account, region: str) -> str | None:
    """Return the one address that no Droplet has: an address has no name that would tell whose it is."""
    free = [ip["ip"] for ip in account.all("reserved_ips", "reserved_ips")
            if ip["region"]["slug"] == region and not ip["droplet"]]  # fmt: skip
    if len(free) > 1:
        raise RecoveryError(
            f"Reserved IPs: must be one at most that is unassigned in {region}, are {', '.join(sorted(free))}; "
            "release those that belong to no stack (they cost money), and run this again"
        )
    return str(free[0]) if free else None


def repair(stack: str, environment: Mapping[str, str]) -> None:
    """Make a state that is kept in a folder readable again when a kill has cut one of its files off.

    Nothing is lost by going back one step: it is written down before it begins, and again after it has ended.
    """
    try:
        place = state_folder(environment)
    except pulumi.RunError as error:
        raise RecoveryError(str(error)) from error
    if place is None:
        return
    folder = place / ".pulumi"
    for attributes in folder.rglob("*.attrs"):  # a file's type and checksum, which nobody misses
        if not _is_whole(attributes):
            attributes.unlink()
    for state in folder.glob(f"stacks/*/{stack}.json"):
        before = state.with_name(f"{state.name}.bak")
        if _is_whole(state):
            continue
        if not (before.exists() and _is_whole(before)):
            raise RecoveryError(
                f"{state}: is cut off, and so is {before.name}; take the newest whole one from {folder / 'backups'}"
            )
        shutil.copyfile(before, state)
        click.echo(f"{state.name}: was cut off; taken from {before.name}")


def _is_whole(file: Path) -> bool:
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def recover(stack: Stack) -> None:
    """Unlock the stack, take over what is there of what was being created, and look at everything else."""
    repair(stack.name, os.environ)
    stack.run("cancel", "--yes")
    state = json.loads(stack.run("stack export"))
    deployment = state["deployment"]
    pending = deployment.pop("pending_operations", None) or []
    begun = [operation["resource"] for operation in pending if operation["type"] == "creating"]
    account = Account() if begun else None
    for resource in begun:
        kind, name = resource["type"].rpartition(":")[2], resource["urn"].rpartition("::")[2]
        inputs = resource.get("inputs") or {}
        find = FINDERS.get(kind)
        found = find(account, inputs) if find and account else None
        click.echo(f"{name}: {f'is there, as {found}' if found else 'is made again by the next update'}")
        if found:
            # Its other outputs come with the refresh. It is the last one, so all that it refers to comes before it.
            outputs = {key: value for key, value in inputs.items() if key != "__defaults"}
            deployment["resources"].append(resource | {"id": found, "outputs": outputs})
    if pending:
        # Not by `refresh --import-pending-creates`, which in 3.259.0 only renames the pending operation.
        stack.run("stack import", given=json.dumps(state))
    stack.run("refresh", "--yes", "--skip-preview", shown=True)


@click.command()
@of_stack
def command(stack: Stack) -> None:
    """Take over what an update had begun to make when it was killed, so that the next one goes on from there."""
    try:
        recover(stack)
    except api.UnreadableError as error:
        raise RecoveryError(str(error)) from error
