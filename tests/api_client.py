"""The API's real clients, and the few calls that many tests begin with."""

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import boto3
import httpx
from botocore.config import Config
from mypy_boto3_s3 import S3Client
from pydo import Client

from sandbox.world.world import World

T = TypeVar("T")
Body = dict[str, Any]

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGb9F8P5K1mVQ0cGJ0l0L2w0W4mJ6s0o8n7Vq8c0m3Zx test"
DROPLET = {"name": "web-1", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "debian-13-x64"}
CLUSTER = {"name": "main", "engine": "pg", "size": "db-s-1vcpu-2gb", "region": "nyc3", "num_nodes": 1}
# Kind in the store: path of its collection.
_DELETED_IN_ORDER = {
    "alert_policy": "monitoring/alerts",
    "load_balancer": "load_balancers",
    "certificate": "certificates",
    "reserved_ip": "reserved_ips",
    "domain": "domains",
    "cdn_endpoint": "cdn/endpoints",
    "firewall": "firewalls",
    "spaces_key": "spaces/keys",
    "ssh_key": "account/keys",
    "droplet": "droplets",
    "database": "databases",
    "vpc_nat_gateway": "vpc_nat_gateways",
    "vpc": "vpcs",
    "tag": "tags",
    "project": "projects",
}


def until(read: Callable[[], T], wanted: Callable[[T], bool], seconds: float = 120) -> T:
    """Poll until what is read is as wanted; fail with what was last seen.

    The time is for a machine that is busy with other tests. To read costs what it costs there: less often by and by.
    """
    deadline = time.monotonic() + seconds
    pause = 0.02
    while not wanted(seen := read()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not as wanted after {seconds} s, last seen: {seen!r}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)
    return seen


class Api:
    """One world's API."""

    def __init__(self, world: World, raw: httpx.Client) -> None:
        self.world = world
        self.raw = raw
        self.proxy = f"http://127.0.0.1:{world.proxy_port}"
        self.client = self.pydo()
        self._s3: dict[tuple[str, str, str], S3Client] = {}

    def pydo(self, **options: Any) -> Client:  # noqa: ANN401 - azure.core's own options
        """DigitalOcean's own client; retries are off unless a test wants them."""
        settings: dict[str, Any] = {
            "retry_total": 0,
            "proxies": {"https": self.proxy},
            "connection_verify": str(self.world.bundle),
        }
        return Client(token=self.world.token, **(settings | options))

    def post(self, path: str, body: Body) -> httpx.Response:
        """Send a body that pydo would not."""
        return self.raw.post(path, json=body)

    def ok(self, response: httpx.Response) -> Body:
        """Return the body of a success."""
        assert response.is_success, response.text
        body: Body = response.json()
        return body

    def fault(self, **fields: object) -> None:
        """Switch a fault on."""
        self.ok(self.post("/_sandbox/faults", fields))

    def switch(self, **fields: object) -> None:
        """Say how the account, or what nobody knows, shall be; see sandbox/switches.py."""
        self.ok(self.raw.put("/_sandbox/switches", json=fields))

    def grow(self, cluster_id: str) -> int:
        """Let a cluster's disk grow by itself, once; the MiB that it has then."""
        return int(self.ok(self.raw.post(f"/_sandbox/databases/{cluster_id}/grow"))["storage_size_mib"])

    def resize(self, cluster_id: str, **fields: object) -> Body:
        """Resize a cluster and wait until it is online again."""
        self.client.databases.update_cluster_size(cluster_id, fields)
        return until(
            lambda: self.client.databases.get_cluster(cluster_id)["database"], lambda found: found["status"] == "online"
        )

    def vpc(self, name: str = "net", ip_range: str = "10.10.0.0/20") -> Body:
        """Create a VPC in nyc3, or return the one that has this name."""
        for vpc in self.client.vpcs.list()["vpcs"]:
            if vpc["name"] == name:
                return dict(vpc)
        body: Body = self.client.vpcs.create({"name": name, "region": "nyc3", "ip_range": ip_range})["vpc"]
        return body

    def droplet(self, **fields: object) -> Body:
        """Create a Droplet and wait until it is active."""
        body = DROPLET | {"vpc_uuid": fields.pop("vpc_uuid", None) or self.vpc()["id"]} | fields
        droplet_id = self.client.droplets.create(body)["droplet"]["id"]
        return until(lambda: self.client.droplets.get(droplet_id)["droplet"], lambda d: d["status"] == "active")

    def cluster(self, **fields: object) -> Body:
        """Create a cluster and wait until it is online; the body is that of the creation."""
        body = CLUSTER | {"private_network_uuid": fields.pop("private_network_uuid", None) or self.vpc()["id"]} | fields
        created: Body = self.client.databases.create_cluster(body)["database"]
        until(lambda: self.client.databases.get_cluster(created["id"])["database"]["status"], lambda s: s == "online")
        return created

    def assign(self, ip: str, droplet_id: int) -> None:
        """Assign a Reserved IP and wait until the action has completed."""
        action = self.client.reserved_ips_actions.post(ip, {"type": "assign", "droplet_id": droplet_id})["action"]
        until(
            lambda: self.client.reserved_ips_actions.get(ip, action["id"])["action"]["status"],
            lambda status: status == "completed",
        )

    def s3(self, access_key: str | None = None, secret_key: str | None = None, region: str = "nyc3") -> S3Client:
        """Spaces by boto3, with the account's key unless another is given; one client for each key and region."""
        access_key, secret_key = access_key or self.world.spaces_access_key, secret_key or self.world.spaces_secret_key
        made = self._s3.get((access_key, secret_key, region))
        if made is None:
            made = self._s3[access_key, secret_key, region] = self._new_s3(access_key, secret_key, region)
        return made

    def plain_s3(self) -> S3Client:
        """Spaces without TLS, which costs more than what is asked for."""
        return self._new_s3(self.world.spaces_access_key, self.world.spaces_secret_key, "nyc3", scheme="http")

    def _new_s3(self, access_key: str, secret_key: str, region: str, *, scheme: str = "https") -> S3Client:
        client: S3Client = boto3.client(
            "s3",
            endpoint_url=f"{scheme}://{region}.digitaloceanspaces.com",
            region_name=region,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            verify=str(self.world.bundle),
            config=Config(
                proxies={"https": self.proxy, "http": self.proxy},
                s3={"addressing_style": "virtual"},
                retries={"total_max_attempts": 1},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        return client

    def bucket(self, name: str) -> None:
        """Create a bucket in nyc3."""
        location: Any = {"LocationConstraint": "nyc3"}  # Amazon's regions only, say the stubs
        self.s3().create_bucket(Bucket=name, CreateBucketConfiguration=location)

    def browser(self) -> httpx.Client:
        """A client that trusts the world and goes through its proxy, without any credentials."""
        return httpx.Client(proxy=self.proxy, verify=ssl.create_default_context(cafile=self.world.bundle))

    def delete_everything(self) -> None:
        """Delete all resources in an order that the rules allow, and wait until nothing is left."""
        self.raw.delete("/_sandbox/faults")
        self.raw.delete("/_sandbox/switches")
        exists = self._resources()
        for kind, path in _DELETED_IN_ORDER.items():
            for resource_id in exists.get(kind, []):
                self._delete(f"/v2/{path}/{resource_id}")
            if kind in {"droplet", "database"}:
                until(self._resources, lambda left: not left.keys() & {"droplet", "database_leaving"})
        self._empty_spaces()

    def _delete(self, path: str) -> None:
        gone = {204, 403, 404}  # 403: a default VPC stays
        until(lambda: self.raw.delete(path).status_code, lambda status: status in gone)

    def _resources(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for resource in self.ok(self.raw.get("/_sandbox/resources"))["resources"]:
            found.setdefault(resource["kind"], []).append(resource["id"])
        return found

    def _empty_spaces(self) -> None:
        s3 = self.s3()
        for bucket in s3.list_buckets()["Buckets"]:
            for item in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
                s3.delete_object(Bucket=bucket["Name"], Key=item["Key"])
            s3.delete_bucket(Bucket=bucket["Name"])


@contextmanager
def connect(world: World) -> Iterator[Api]:
    """Ask a world of depth `api` through its proxy."""
    with httpx.Client(
        base_url="https://api.digitalocean.com",
        proxy=f"http://127.0.0.1:{world.proxy_port}",
        verify=ssl.create_default_context(cafile=world.bundle),
        headers={"Authorization": f"Bearer {world.token}"},
        timeout=30,
    ) as raw:
        yield Api(world, raw)
