"""The sandbox's provider plugin sends what pulumi-digitalocean 4.76.0 was recorded to send."""

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
from digitalocean_provider.clients import Clients, Reply, settings_from
from digitalocean_provider.operation import Operation
from digitalocean_provider.resources import resource

from tests.sandbox.recorded import RECORDED

OFFICIAL = [recorded for recorded in RECORDED if recorded.client == "pulumi"]
ANYWHERE = ["0.0.0.0/0", "::/0"]


class Sent(Exception):  # noqa: N818 - nothing went wrong
    """The request that was waited for, which ends the operation there."""

    def __init__(self, body: object) -> None:
        super().__init__(body)
        self.body = body


class Caught(Clients):
    """Clients that give one answer to everything, until the request comes that is waited for."""

    def __init__(self, request: str, answer: dict[str, Any]) -> None:
        super().__init__(settings_from({"token": "t"}))
        self._request = request
        self._answer = answer

    def send(self, method: str, *path: str | int, body: dict[str, Any] | None = None, **_query: object) -> Reply:
        """Answer, or raise what was waited for."""
        where = "/v2/" + "/".join(map(str, path))
        if f"{method} {where}" == self._request:
            raise Sent(body)
        return Reply(method=method, url=where, status=200, body=self._answer, retry_after=None)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A step of a resource: inputs that are there, or, for updates and deletions, are changed."""

    kind: str
    step: str  # create, update, delete
    request: str  # the recorded method and path
    inputs: dict[str, Any] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    id: str = ""
    before: dict[str, Any] = field(default_factory=dict)  # what requests before it are answered


CLUSTER = {"clusterId": "{cluster}"}
FIREWALL = {
    "name": "polls-local-firewall-5c48674",
    "inboundRules": [
        {"protocol": "tcp", "portRange": port, "sourceAddresses": [*reversed(ANYWHERE)]} for port in ("443", "80")
    ],
    "outboundRules": [
        {"protocol": "icmp", "destinationAddresses": ANYWHERE},
        {"protocol": "tcp", "portRange": "all", "destinationAddresses": ANYWHERE},
        {"protocol": "udp", "portRange": "all", "destinationAddresses": ANYWHERE},
    ],
    "tags": ["{tag}"],
}
SSH = {"protocol": "tcp", "portRange": "22", "sourceAddresses": ["192.0.2.7"]}
IDLE = {"actions": []}
ASSIGNED = {"reserved_ip": {"ip": "{assigned_ip}", "droplet": {"id": "{droplet}"}}}
UNLOCKED = {"droplet": {"locked": False}}

CASES = [
    Case(
        kind="SshKey",
        step="create",
        request="POST /v2/account/keys",
        inputs={
            "name": "polls-local-ssh-key-1cf65db",
            "publicKey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIICEo58ZbKtsnrQTz1ugDc534O5W2fyOIkEjCgwJjPzF",
        },
    ),
    Case(kind="SshKey", step="delete", request="DELETE /v2/account/keys/{ssh_key}", id="{ssh_key}"),
    Case(kind="Cdn", step="create", request="POST /v2/cdn/endpoints", inputs={"origin": "{origin}", "ttl": 3600}),
    Case(
        kind="Cdn",
        step="update",
        request="PUT /v2/cdn/endpoints/{endpoint}",
        id="{endpoint}",
        inputs={"ttl": 600},
        changed={"ttl"},
    ),
    Case(kind="Cdn", step="delete", request="DELETE /v2/cdn/endpoints/{endpoint}", id="{endpoint}"),
    Case(
        kind="DatabaseCluster",
        step="create",
        request="POST /v2/databases",
        inputs={
            "name": "polls-local-db",
            "engine": "pg",
            "version": "17",
            "size": "db-s-1vcpu-1gb",
            "region": "nyc3",
            "nodeCount": 1,
            "privateNetworkUuid": "{vpc}",
            "tags": ["polls-local"],
        },
    ),
    Case(
        kind="DatabaseCluster",
        step="update",
        request="PUT /v2/databases/{cluster}/resize",
        id="{cluster}",
        inputs={"size": "db-s-2vcpu-4gb", "nodeCount": 1},
        changed={"size"},
    ),
    Case(
        kind="DatabaseCluster",
        step="update",
        request="PUT /v2/databases/{cluster}/maintenance",
        id="{cluster}",
        inputs={"maintenanceWindows": [{"day": "sunday", "hour": "03:00"}]},
        changed={"maintenanceWindows"},
    ),
    Case(
        kind="DatabaseCluster",
        step="update",
        request="POST /v2/tags/{tag}/resources",
        id="{cluster}",
        inputs={"tags": ["{tag}"]},
        changed={"tags"},
    ),
    Case(kind="DatabaseCluster", step="delete", request="DELETE /v2/databases/{cluster}", id="{cluster}"),
    Case(
        kind="DatabaseUser",
        step="create",
        request="POST /v2/databases/{cluster}/users",
        inputs=CLUSTER | {"name": "app"},
    ),
    Case(
        kind="DatabaseDb", step="create", request="POST /v2/databases/{cluster}/dbs", inputs=CLUSTER | {"name": "app"}
    ),
    Case(
        kind="DatabaseFirewall",
        step="create",
        request="PUT /v2/databases/{cluster}/firewall",
        inputs=CLUSTER | {"rules": [{"type": "tag", "value": "{tag}"}]},
    ),
    Case(
        kind="DatabaseConnectionPool",
        step="create",
        request="POST /v2/databases/{cluster}/pools",
        inputs=CLUSTER
        | {"name": "app-pool", "size": 20, "dbName": "{database}", "mode": "transaction", "user": "{user}"},
    ),
    Case(
        kind="DatabaseConnectionPool",
        step="delete",
        request="DELETE /v2/databases/{cluster}/pools/{pool}",
        id="{cluster}/{pool}",
    ),
    Case(kind="Domain", step="create", request="POST /v2/domains", inputs={"name": "polls.example"}),
    Case(kind="Domain", step="delete", request="DELETE /v2/domains/{domain}", id="{domain}"),
    Case(
        kind="DnsRecord",
        step="create",
        request="POST /v2/domains/{domain}/records",
        inputs={"domain": "{domain}", "type": "A", "name": "@", "value": "198.51.100.200", "ttl": 300},
    ),
    Case(
        kind="DnsRecord",
        step="delete",
        request="DELETE /v2/domains/{domain}/records/{a_record}",
        id="{a_record}",
        inputs={"domain": "{domain}"},
    ),
    Case(
        kind="Droplet",
        step="create",
        request="POST /v2/droplets",
        inputs={
            "name": "polls-local-web-1-05efb71",
            "region": "nyc3",
            "size": "s-4vcpu-8gb",
            "image": "debian-13-x64",
            "sshKeys": ["{fingerprint}"],
            "backups": False,
            "ipv6": False,
            "monitoring": True,
            "userData": "#cloud-config\n",
            "tags": ["polls-local", "polls-local-web"],
            "vpcUuid": "{vpc}",
        },
    ),
    Case(
        kind="Droplet",
        step="update",
        request="POST /v2/droplets/{droplet}/actions",
        id="{droplet}",
        inputs={"backups": True},
        changed={"backups"},
    ),
    Case(kind="Droplet", step="delete", request="DELETE /v2/droplets/{droplet}", id="{droplet}", before=UNLOCKED),
    Case(kind="Firewall", step="create", request="POST /v2/firewalls", inputs=FIREWALL),
    Case(
        kind="Firewall",
        step="update",
        request="PUT /v2/firewalls/{firewall}",
        id="{firewall}",
        inputs=FIREWALL | {"inboundRules": [SSH, *FIREWALL["inboundRules"]]},
    ),
    Case(kind="Firewall", step="delete", request="DELETE /v2/firewalls/{firewall}", id="{firewall}"),
    Case(
        kind="MonitorAlert",
        step="create",
        request="POST /v2/monitoring/alerts",
        inputs={
            "type": "v1/insights/droplet/memory_utilization_percent",
            "description": "polls-local: memory above 90 % for 5m",
            "compare": "GreaterThan",
            "value": 90,
            "window": "5m",
            "tags": ["{tag}"],
            "alerts": {"emails": ["a@polls.example"]},
            "enabled": True,
        },
    ),
    Case(kind="ReservedIp", step="create", request="POST /v2/reserved_ips", inputs={"region": "nyc3"}),
    Case(kind="ReservedIp", step="delete", request="DELETE /v2/reserved_ips/{reserved_ip}", id="{reserved_ip}"),
    Case(
        kind="ReservedIpAssignment",
        step="create",
        request="POST /v2/reserved_ips/{reserved_ip}/actions",
        inputs={"ipAddress": "{reserved_ip}", "dropletId": "{droplet}"},
        before=IDLE,
    ),
    Case(
        kind="ReservedIpAssignment",
        step="delete",
        request="POST /v2/reserved_ips/{assigned_ip}/actions",
        inputs={"ipAddress": "{assigned_ip}", "dropletId": "{droplet}"},
        before=ASSIGNED,
    ),
    Case(
        kind="SpacesKey",
        step="create",
        request="POST /v2/spaces/keys",
        inputs={
            "name": "polls-local-app-key-f6fef1c",
            "grants": [{"bucket": "{bucket}", "permission": "readwrite"}],
        },
    ),
    Case(kind="SpacesKey", step="delete", request="DELETE /v2/spaces/keys/{spaces_key}", id="{spaces_key}"),
    Case(kind="Tag", step="create", request="POST /v2/tags", inputs={"name": "extra-tag"}),
    Case(kind="Tag", step="delete", request="DELETE /v2/tags/{tag}", id="{tag}"),
    Case(
        kind="Vpc",
        step="create",
        request="POST /v2/vpcs",
        inputs={"name": "polls-local-vpc-2fe027d", "region": "nyc3", "ipRange": "10.40.0.0/20"},
    ),
    Case(kind="Vpc", step="delete", request="DELETE /v2/vpcs/{vpc}", id="{vpc}"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}-{case.request}")
def test_the_plugin_sends_what_the_official_one_sends(case: Case) -> None:
    """The same body, with its nulls and zeros, and with sets in the same order."""
    module: Any = resource(f"digitalocean:index/{case.kind[0].lower()}{case.kind[1:]}:{case.kind}")
    operation = Operation(Caught(case.request, case.before), threading.Event())
    arguments: dict[str, tuple[object, ...]] = {
        "create": (case.inputs,),
        "update": (case.id, {}, case.inputs, case.changed),
        "delete": (case.id, case.inputs),
    }
    with pytest.raises(Sent) as sent:
        getattr(module, case.step)(operation, *arguments[case.step])
    [recorded] = [r.body for r in OFFICIAL if f"{r.method} {r.path}" == case.request]
    assert sent.value.body == recorded


def test_every_recorded_request_of_the_official_plugin_is_a_case() -> None:
    """But for what it reads."""
    written = {f"{recorded.method} {recorded.path}" for recorded in OFFICIAL if recorded.method != "GET"}
    assert written == {case.request for case in CASES}


UNUSED = dict.fromkeys(("priority", "port", "weight", "flags", "tag"))
APEX = {"type": "A", "name": "@", "data": "192.0.2.1", "ttl": 300}
ENDPOINT = {"origin": "o", "ttl": 3600, "endpoint": "e", "created_at": "2026-11-29T10:00:00Z", "custom_domain": None}


@pytest.mark.parametrize(
    ("kind", "answer", "kept"),
    [
        (
            "DnsRecord",
            {"domain_record": APEX | UNUSED},
            {"priority": 0, "port": 0, "weight": 0, "flags": 0, "tag": ""},
        ),
        ("Cdn", {"endpoint": ENDPOINT}, {"customDomain": ""}),
    ],
)
def test_what_the_api_leaves_out_is_zero_in_the_state(kind: str, answer: dict[str, Any], kept: dict[str, Any]) -> None:
    """As in that of the official plugin, which reads into Go's values."""
    module: Any = resource(f"digitalocean:index/{kind[0].lower()}{kind[1:]}:{kind}")
    operation = Operation(Caught("nothing", answer), threading.Event())
    properties = module.read(operation, "1", {"domain": "polls.example"})
    assert {name: properties[name] for name in kept} == kept
