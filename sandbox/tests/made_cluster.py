"""A managed PostgreSQL cluster in a network of its own, made and removed as a client of the API does."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sandbox.world.world import World
from tests.internet_side import python

CREATE = """
vpc = api("POST", "/v2/vpcs", {"name": given["name"], "region": "nyc3", "ip_range": given["ip_range"]})["vpc"]
database = api("POST", "/v2/databases", {
    "name": given["name"], "engine": "pg", "region": "nyc3", "private_network_uuid": vpc["id"], **given["fields"]
})["database"]
path = "/v2/databases/" + database["id"]
deadline = time.monotonic() + given["patience"]
while database["status"] != "online":
    assert time.monotonic() < deadline, database["status"]
    time.sleep(0.3)
    database = api("GET", path)["database"]
app = api("POST", path + "/users", {"name": "app"})["user"]
api("POST", path + "/dbs", {"name": "polls"})
pool = {"name": "web", "mode": "transaction", "size": given["pool"], "db": "polls", "user": "app"}
api("POST", path + "/pools", pool)
answer = {"id": database["id"], "version": database["version"], "vpc": vpc["id"], "app": app["password"],
          "connection": database["connection"], "private": database["private_connection"],
          "standby": database["standby_connection"]["host"] if database.get("standby_connection") else None,
          "certificate": api("GET", path + "/ca")["ca"]["certificate"]}
"""
# A test may have deleted the cluster. A VPC can't be deleted as long as it has members, and a cluster goes after its
# deletion was accepted.
REMOVE = """
authorization = "Bearer " + os.environ["DIGITALOCEAN_TOKEN"]
cluster = "https://api.digitalocean.com/v2/databases/" + given["id"]
status, _, text = fetch(cluster, "DELETE", Authorization=authorization)
assert status in (204, 404), text
deadline = time.monotonic() + 60
vpc = "https://api.digitalocean.com/v2/vpcs/" + given["vpc"]
while (last := fetch(vpc, "DELETE", Authorization=authorization))[0] != 204:
    assert time.monotonic() < deadline, last
    time.sleep(0.2)
answer = None
"""


@contextmanager
def made_cluster(
    world: World, name: str, *, ip_range: str, pool: int, patience: float = 100, **fields: object
) -> Iterator[dict[str, Any]]:
    """Make a cluster with a user `app`, a database `polls` and a transaction-mode pool `web`; remove it in the end.

    fields are those of the API's request: version, size, num_nodes, rules. patience: seconds until it must be online.
    """
    made = python(
        world, CREATE, timeout=patience + 100, name=name, ip_range=ip_range, pool=pool, patience=patience, fields=fields
    )
    yield made
    python(world, REMOVE, id=made["id"], vpc=made["vpc"])
