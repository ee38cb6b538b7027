"""What a run makes in the account, all of one name, and how every bit of it goes again."""

import base64
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from operations.benchmark import client
from operations.benchmark.account import Account, BenchmarkError, until
from operations.benchmark.client import AUTHORITY, IMAGE, USER_KEY, VERSION, Client
from provider import api

# Name and tag of everything: what it is, and until when the run may go on (UTC); whatever is older was left.
NAME = re.compile(r"django-do-benchmark-(?P<until>\d{12})-[0-9a-f]{6}")
STAMP = "%Y%m%d%H%M"
DATABASE, POOL, ADMIN = "benchmark", "benchmark-pool", "doadmin"
CREATED = 1800.0  # seconds for a cluster or a Droplet to be there
GONE = 900.0  # seconds for everything to be gone

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What is to be made."""

    name: str
    region: str
    plan: str  # the cluster's
    client: str  # the Droplet's size
    pool_size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Rig:
    """What was made: a cluster with a database, and a client that may reach it."""

    account: Account
    order: Order
    cluster_id: str
    disk_gib: int
    client: Client

    def set_pool(self, size: int | None) -> None:
        """Let the pool have so many backends, or let there be none: it keeps the backends that it has opened."""
        pools = f"databases/{self.cluster_id}/pools"
        body = {"mode": "transaction", "size": size, "db": DATABASE, "user": ADMIN}
        self.account.delete(f"{pools}/{POOL}")
        if size is not None:
            self.account.make(pools, {"name": POOL, **body})
            self.client.ask("answers", service="pool")


def new_name(until_: datetime) -> str:
    """Return the name of a run that has ended by then, whatever happens."""
    return f"django-do-benchmark-{until_.astimezone(UTC).strftime(STAMP)}-{secrets.token_hex(3)}"


def expires(name: str) -> datetime:
    """Return by when a run of this name has ended."""
    match = NAME.fullmatch(name)
    assert match, name
    return datetime.strptime(match["until"], STAMP).replace(tzinfo=UTC)


def make(account: Account, order: Order, folder: Path, say: Say) -> Rig:
    """Make everything, and wait until the client can ask the cluster."""
    client.make_keys(folder)
    name, tags = order.name, [order.name]
    account.make("tags", {"name": name})  # first: by it the rest is found
    key = account.make("account/keys", {"name": name, "public_key": client.public(folder, USER_KEY)})["ssh_key"]
    vpc = account.make("vpcs", {"name": name, "region": order.region})["vpc"]
    say(f"cluster {name} ({order.plan}) and client ({order.client}) are being made")
    cluster = account.make(
        "databases",
        {
            "name": name, "engine": "pg", "version": VERSION, "size": order.plan, "region": order.region,
            "num_nodes": 1, "private_network_uuid": vpc["id"], "tags": tags, "rules": [{"type": "tag", "value": name}],
        },
    )["database"]  # fmt: skip
    host_key = (folder / client.HOST_KEY).read_text()
    droplet = account.make(
        "droplets",
        {
            "name": name, "region": order.region, "size": order.client, "image": IMAGE, "ssh_keys": [key["id"]],
            "vpc_uuid": vpc["id"], "tags": tags,
            "user_data": client.user_data(host_key, client.public(folder, client.HOST_KEY)),
        },
    )["droplet"]  # fmt: skip
    machine = Client(address=_address(account, droplet["id"]), folder=folder)
    machine.wait()
    say("the client is ready; the cluster is waited for")
    online = until(f"cluster {name}", CREATED, lambda: _online(account, cluster["id"]))
    disk = int(online.get("storage_size_mib") or 0) // 1024
    rig = Rig(account=account, order=order, cluster_id=cluster["id"], disk_gib=disk, client=machine)
    _introduce(rig, online)
    return rig


def _introduce(rig: Rig, cluster: api.Body) -> None:
    """Make the database and the pool, and tell the client where they are."""
    account, path = rig.account, f"databases/{rig.cluster_id}"
    account.make(f"{path}/dbs", {"name": DATABASE})
    body = {"name": POOL, "mode": "transaction", "size": rig.order.pool_size, "db": DATABASE, "user": ADMIN}
    pool = account.make(f"{path}/pools", body)["pool"]
    authority = base64.b64decode(account.one(f"{path}/ca", "ca")["certificate"]).decode()
    rig.client.send(AUTHORITY, authority)
    direct = cluster["private_connection"]
    places = {"direct": (direct, DATABASE), "pool": (pool["private_connection"], POOL)}
    rig.client.send(
        "/root/.pg_service.conf",
        "".join(
            f"[{service}]\nhost={place['host']}\nport={place['port']}\ndbname={database}\nuser={ADMIN}\n"
            f"password={direct['password']}\nsslmode=verify-full\nsslrootcert={AUTHORITY}\nconnect_timeout=20\n"
            for service, (place, database) in places.items()
        ),
    )
    for service in places:
        rig.client.ask("answers", service=service)


def _online(account: Account, cluster_id: str) -> api.Body | None:
    cluster = account.one(f"databases/{cluster_id}", "database")
    return cluster if cluster["status"] == "online" else None


def _address(account: Account, droplet_id: int) -> str:
    def look() -> str | None:
        droplet = account.one(f"droplets/{droplet_id}", "droplet")
        addresses = [network["ip_address"] for network in droplet["networks"]["v4"] if network["type"] == "public"]
        return addresses[0] if droplet["status"] == "active" and addresses else None

    return until(f"Droplet {droplet_id}", CREATED, look)


def leftovers(account: Account) -> list[str]:
    """Return the names of runs that have something in the account, by their tags."""
    return sorted(str(tag["name"]) for tag in account.all("tags", "tags") if NAME.fullmatch(tag["name"]))


def remove(account: Account, name: str, say: Say) -> None:
    """Remove all that a run has made, and nothing else; return when it is gone."""
    if not NAME.fullmatch(name):
        raise BenchmarkError(f'tag: must be of a benchmark, {NAME.pattern}, got "{name}"')
    told: set[str] = set()
    until(f"{name}: its end", GONE, lambda: _removed(account, name, lambda what: _once(told, what, say)))
    say(f"removed: {name}, nothing of it is left")


def _once(told: set[str], what: str, say: Say) -> None:
    """Say what was not said yet."""
    if what not in told:
        told.add(what)
        say(what)


def _removed(account: Account, name: str, say: Say) -> bool | None:
    """Delete what is there; tell when there is nothing more."""
    if tagged := list(_tagged(account, name)):
        for path, what in tagged:
            say(f"removing {what} {name}")
            account.delete(path)
        return None
    for path, root in (("account/keys", "ssh_keys"), ("vpcs", "vpcs")):
        for item in account.all(path, root):
            if item["name"] == name:  # neither can have a tag
                account.delete(f"{path}/{item['id']}")
    account.delete(f"tags/{name}")
    return True


def _tagged(account: Account, name: str) -> Iterator[tuple[str, str]]:
    """Yield path and kind of what costs money."""
    for path, what in (("droplets", "Droplet"), ("databases", "cluster")):
        for item in account.all(path, path):
            if name == item["name"] and name in (item["tags"] or []):
                yield f"{path}/{item['id']}", what
