"""What official clients sent once, and what must be there before it can be sent again.

`recorded_requests.jsonl` has the 46 requests of pulumi-digitalocean 4.76.0 for the stacks of this repository and the
184 of the acceptance tests of terraform-provider-digitalocean 2.99.1, less those that differ in names and ids only,
each with the right status of its answer. `{cluster}` and the like stand for something that exists: see `Stock`.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from tests.api_client import DROPLET, PUBLIC_KEY, Api, Body, until
from tests.certificates import Authority

_PLACEHOLDER = re.compile(r"\{(\w+)\}")

_CLUSTER = {"name": "{new}", "engine": "pg", "size": "db-s-1vcpu-1gb", "region": "nyc3", "num_nodes": 1}
_RULE = {"protocol": "tcp", "ports": "22", "sources": {"addresses": ["192.0.2.1"]}}
_POOL = {"name": "{new}", "mode": "transaction", "size": 1, "db": "defaultdb", "user": "doadmin"}
_ORIGIN = ".nyc3.digitaloceanspaces.com"


def _record(type_: str, data: str) -> tuple[str, Body, str]:
    body = {"type": type_, "name": "{new}", "data": data, "priority": 1, "port": 1, "weight": 1}
    return "/v2/domains/{domain}/records", body, "id"


# By what it is called in a request: where it is made, of what, and what of the answer stands for it.
_MADE: dict[str, tuple[str, Body, str]] = {
    "vpc": ("/v2/vpcs", {"name": "{new}", "region": "nyc3"}, "id"),
    "tag": ("/v2/tags", {"name": "{new}"}, "name"),
    "ssh_key": ("/v2/account/keys", {"name": "{new}", "public_key": PUBLIC_KEY}, "id"),
    "droplet": ("/v2/droplets", DROPLET | {"name": "{new}"}, "id"),
    "domain": ("/v2/domains", {"name": "{new}.example"}, "name"),
    "a_record": _record("A", "192.0.2.1"),
    "cname_record": _record("CNAME", "host.example."),
    "mx_record": _record("MX", "mail.example."),
    "srv_record": _record("SRV", "host.example."),
    "cluster": ("/v2/databases", _CLUSTER | {"version": "15"}, "id"),
    "old_cluster": ("/v2/databases", _CLUSTER | {"version": "14"}, "id"),
    "user": ("/v2/databases/{cluster}/users", {"name": "{new}"}, "name"),
    "database": ("/v2/databases/{cluster}/dbs", {"name": "{new}"}, "name"),
    "pool": ("/v2/databases/{cluster}/pools", _POOL, "name"),
    "firewall": ("/v2/firewalls", {"name": "{new}", "inbound_rules": [_RULE]}, "id"),
    "reserved_ip": ("/v2/reserved_ips", {"region": "nyc3"}, "ip"),
    "assigned_ip": ("/v2/reserved_ips", {"droplet_id": "{droplet}"}, "ip"),
    "endpoint": ("/v2/cdn/endpoints", {"origin": "{new}" + _ORIGIN}, "id"),
    "spaces_key": ("/v2/spaces/keys", {"name": "{new}", "grants": []}, "access_key"),
}
# What is gone with it.
_BELOW = {
    "domain": {"a_record", "cname_record", "mx_record", "srv_record"},
    "cluster": {"user", "database", "pool", "rule"},
    "bucket": {"origin"},
}


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request; texts in path and body may have placeholders."""

    client: str
    method: str
    path: str
    body: Body | None
    status: int

    @property
    def product(self) -> str:
        """The first part of the path."""
        return re.split(r"[/?]", self.path)[2]


RECORDED = [
    Recorded(**json.loads(line))
    for line in (Path(__file__).parent / "recorded_requests.jsonl").read_text(encoding="utf-8").splitlines()
]


class Stock:
    """What requests speak of: each thing is made when it is first asked for, and again after its deletion."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._there: dict[str, Any] = {}
        self._made = 0

    def replay(self, recorded: Recorded) -> httpx.Response:
        """Send a request again, about what exists now; what it makes is deleted, since another may use its name."""
        path, body = self._filled(recorded.path), self._filled(recorded.body)
        answer = self._api.raw.request(recorded.method, path, json=body)
        settle(self._api)
        if answer.is_success and recorded.method == "POST" and not path.endswith("/actions"):
            self._remove(path, answer)
        if recorded.method == "DELETE":
            name = _PLACEHOLDER.findall(recorded.path)[-1]
            for gone in {name} | _BELOW.get(name, set()):
                self._there.pop(gone, None)
        return answer

    def _filled(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        """Return the same with things that exist in the place of placeholders; ids that are numbers stay numbers."""
        if isinstance(value, dict):
            return {name: self._filled(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        if not isinstance(value, str):
            return value
        if whole := _PLACEHOLDER.fullmatch(value):
            return self._get(whole[1])
        return _PLACEHOLDER.sub(lambda found: str(self._get(found[1])), value)

    def _get(self, name: str) -> Any:  # noqa: ANN401 - an id is a number or a text
        if name == "new":
            self._made += 1
            return f"replay-{self._made}"
        if name in {"private_key", "leaf_certificate", "certificate_chain"} - self._there.keys():
            self._there |= _certificate()
        if name not in self._there:
            self._there[name] = self._make(name)
        return self._there[name]

    def _make(self, name: str) -> Any:  # noqa: ANN401 - an id is a number or a text
        if name in _MADE:
            path, body, key = _MADE[name]
            answer = self._api.ok(self._api.post(self._filled(path), self._filled(body)))
            settle(self._api)
            return _only(answer)[key]
        match name:
            case "fingerprint":
                return self._read("/v2/account/keys/{ssh_key}")["fingerprint"]
            case "project":
                return self._read("/v2/projects/default")["id"]
            case "rule":
                path = self._filled("/v2/databases/{cluster}/firewall")
                self._api.raw.put(path, json={"rules": [{"type": "ip_addr", "value": "192.168.1.1"}]})
                return self._api.raw.get(path).json()["rules"][0]["uuid"]
            case "bucket":
                bucket = str(self._get("new"))
                self._api.bucket(bucket)
                return bucket
            case "origin":
                return self._get("bucket") + _ORIGIN
        raise AssertionError(f"{name}: nothing is called so")

    def _read(self, path: str) -> Body:
        return _only(self._api.ok(self._api.raw.get(self._filled(path))))

    def _remove(self, path: str, answer: httpx.Response) -> None:
        made = _only(answer.json()) if answer.content else {}
        for key in ("id", "uuid", "ip", "access_key", "name"):
            if key in made:
                until(lambda: self._api.raw.delete(f"{path}/{made[key]}"), lambda gone: gone.is_success)  # noqa: B023
                return


def _certificate() -> dict[str, str]:
    """Key, certificate and chain, as the acceptance tests make them."""
    authority = Authority("acceptance tests")
    with TemporaryDirectory() as folder:
        crt, key = authority.issue("replay.example", Path(folder) / "replay")
        pem = {"private_key": key.read_text(), "leaf_certificate": crt.read_text()}
    return pem | {"certificate_chain": authority.pem}


def settle(api: Api) -> None:
    """Wait until nothing is under way any more, as the clients do."""

    def busy() -> list[str]:
        droplets, clusters, actions = (
            api.raw.get(f"/v2/{name}?per_page=200").json()[name] for name in ("droplets", "databases", "actions")
        )
        found = [droplet["status"] for droplet in droplets if droplet["status"] == "new"]
        found += [cluster["status"] for cluster in clusters if cluster["status"] != "online"]
        return found + [action["type"] for action in actions if action["status"] == "in-progress"]

    until(busy, lambda found: not found)


def _only(answer: Body) -> Body:
    """Return what an answer is about: links and the like stand beside it."""
    return next(value for name, value in answer.items() if name not in {"links", "meta"})
