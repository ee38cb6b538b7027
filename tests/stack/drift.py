"""What may be changed behind Pulumi's back, what finds it and what fixes it: cases of tests, rows of docs/drift.md.

`python -m tests.stack.drift > docs/drift.md` writes the page.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError

from sandbox.world import certificates
from tests.api_client import Api, until
from tests.pulumi_stack import PulumiStack


class Site:
    """The deployed stack as DigitalOcean has it, past Pulumi."""

    def __init__(self, api: Api, stack: PulumiStack) -> None:
        self.api = api
        self.stack = stack
        self.state = stack.resources()

    def id(self, name: str) -> str:
        """Id of a resource, as it was when this object was made."""
        return str(self.state[name]["id"])

    @cached_property
    def buckets(self) -> dict[str, str]:
        """Names of the four Spaces by their role."""
        return {role: self.id(role) for role in ("assets", "media", "releases", "state")}

    def get(self, path: str) -> dict[str, Any] | None:
        """Ask the API; None when there is no such thing."""
        answer = self.api.raw.get(path)
        return None if answer.status_code == 404 else self.api.ok(answer)

    def change(self, method: str, path: str, body: object = None) -> None:
        """Change something by the API, as the control panel does."""
        answer = self.api.raw.request(method, path, json=body)
        assert answer.is_success, (method, path, answer.text)

    def found(self, kind: str, path: str, wanted: Callable[[dict[str, Any]], bool]) -> bool:
        """Whether the API has exactly one such thing now: after a fix it may have another id."""
        answer = self.get(path)
        return answer is not None and len([item for item in answer[kind] if wanted(item)]) == 1

    def document(self, key: str) -> bytes | None:
        """Content of an object in the Space `releases`."""
        try:
            return self.api.s3().get_object(Bucket=self.buckets["releases"], Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            return None

    def cors(self) -> list[dict[str, Any]]:
        """CORS rules of the Space `assets`."""
        try:
            return [dict(rule) for rule in self.api.s3().get_bucket_cors(Bucket=self.buckets["assets"])["CORSRules"]]
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchCORSConfiguration":
                raise
            return []


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One change, and what the engine says of it. `refresh` and `up` are ops and names of resources."""

    what: str  # as a person would say it
    change: Callable[[Site], None]
    holds: Callable[[Site], bool]  # whether things are as the program wants them
    refresh: tuple[str, ...]  # what `pulumi refresh` finds
    up: tuple[str, ...]  # what the next `pulumi up` does about it
    effect: str = ""  # on visitors, while it lasts and while it is fixed


def _cluster(site: Site) -> str:
    return f"/v2/databases/{site.id('db')}"


def _pool(site: Site) -> str:
    return f"{_cluster(site)}/pools/{site.state['pool']['outputs']['name']}"


def _open_ssh(site: Site) -> None:
    path = f"/v2/firewalls/{site.id('direct-firewall')}"
    firewall = site.api.ok(site.api.raw.get(path))["firewall"]
    rule = {"protocol": "tcp", "ports": "22", "sources": {"addresses": ["0.0.0.0/0"]}}
    kept = {name: firewall[name] for name in ("name", "outbound_rules", "droplet_ids", "tags")}
    site.change("PUT", path, kept | {"inbound_rules": [*firewall["inbound_rules"], rule]})


def _ssh_is_closed(site: Site) -> bool:
    return site.found(
        "firewalls",
        "/v2/firewalls",
        lambda found: {rule["ports"] for rule in found["inbound_rules"]} == {"80", "443"},
    )


def _allow_every_origin(site: Site) -> None:
    rules: Any = {"CORSRules": [{"AllowedOrigins": ["*"], "AllowedMethods": ["GET", "PUT"]}]}
    site.api.s3().put_bucket_cors(Bucket=site.buckets["assets"], CORSConfiguration=rules)


def _overwrite_desired(site: Site) -> None:
    document = json.loads(site.document("desired.json") or b"{}")
    other = document | {"release": "00000000-00000000", "attempt": document["attempt"] + 1}
    site.api.s3().put_object(Bucket=site.buckets["releases"], Key="desired.json", Body=json.dumps(other).encode())


def _desires_the_release(site: Site) -> bool:
    document = json.loads(site.document("desired.json") or b"{}")
    return bool(document.get("release") == site.state["rollout"]["outputs"]["release"])


def _delete_object(site: Site, key: str) -> None:
    site.api.s3().delete_object(Bucket=site.buckets["releases"], Key=key)


def _artifact(site: Site) -> str:
    return str(site.state["artifact"]["outputs"]["key"])


def _package(site: Site) -> str:
    return str(site.state["agent"]["outputs"]["key"])


def _record(site: Site) -> str:
    return f"/v2/domains/{site.id('domain')}/records"


def _droplet_path(site: Site) -> str:
    return f"/v2/droplets/{site.id('web-1')}"


def _delete_droplet(site: Site) -> None:
    site.change("DELETE", _droplet_path(site))
    until(lambda: site.get(_droplet_path(site)), lambda found: found is None)


def _unassign(site: Site) -> None:
    site.change("POST", f"/v2/reserved_ips/{site.id('address')}/actions", {"type": "unassign"})
    until(lambda: _holder(site), lambda droplet: droplet is None)


def _holder(site: Site) -> str | None:
    answer = site.get(f"/v2/reserved_ips/{site.id('address')}")
    droplet = answer and answer["reserved_ip"]["droplet"]
    return str(droplet["id"]) if droplet else None


def _key(site: Site, role: str) -> str:
    return f"/v2/spaces/keys/{site.id(f'{role}-key')}"


def _grants(site: Site, role: str) -> set[str]:
    """Buckets that the one key of this role may use; none when there is no such key."""
    keys = site.api.ok(site.api.raw.get("/v2/spaces/keys"))["keys"]
    granted = [key["grants"] for key in keys if key["name"].startswith(f"polls-local-{role}-key")]
    return {grant["bucket"] for grant in granted[0]} if len(granted) == 1 else set()


def _tag(site: Site) -> tuple[str, dict[str, Any]]:
    resources = [{"resource_id": site.id("web-1"), "resource_type": "droplet"}]
    return f"/v2/tags/{site.id('web-tag')}/resources", {"resources": resources}


# Each in place, and independent of the others.
CHANGED = (
    Case(
        what="A CORS rule of the Space for static files was changed",
        change=_allow_every_origin,
        holds=lambda site: [rule["AllowedOrigins"] for rule in site.cors()] == [["https://polls.example"]],
        refresh=("update assets-cors",),
        up=("update assets-cors",),
    ),
    Case(
        what="A firewall rule was added (SSH for everybody)",
        change=_open_ssh,
        holds=_ssh_is_closed,
        refresh=("update direct-firewall",),
        up=("update direct-firewall",),
    ),
    Case(
        what="A tag was taken from a Droplet",
        change=lambda site: site.change("DELETE", *_tag(site)),
        holds=lambda site: site.found(
            "droplets", "/v2/droplets", lambda droplet: site.id("web-tag") in droplet["tags"]
        ),
        refresh=("update web-1",),
        up=("update web-1",),
        effect="until then it has neither firewall rules nor the database: both go by the tag",
    ),
    Case(
        what="The size of the connection pool was changed",
        change=lambda site: site.change(
            "PUT", _pool(site), {"mode": "transaction", "size": 3, "db": "app", "user": "app"}
        ),
        holds=lambda site: site.found("pools", f"{_cluster(site)}/pools", lambda pool: pool["size"] == 20),
        refresh=("update pool",),
        up=("replace pool",),
        effect="the provider can only replace a pool: requests fail for about a second",
    ),
    Case(
        what="The trusted sources of the database were changed",
        change=lambda site: site.change(
            "PUT", f"{_cluster(site)}/firewall", {"rules": [{"type": "ip_addr", "value": "192.0.2.1"}]}
        ),
        holds=lambda site: site.found("rules", f"{_cluster(site)}/firewall", lambda rule: rule["type"] == "tag"),
        refresh=("update trusted-sources",),
        up=("update trusted-sources",),
    ),
    Case(
        what="The maintenance window was moved",
        change=lambda site: site.change("PUT", f"{_cluster(site)}/maintenance", {"day": "friday", "hour": "12:00"}),
        holds=lambda site: site.found(
            "databases", "/v2/databases", lambda cluster: cluster["maintenance_window"]["day"] == "sunday"
        ),
        refresh=("update db",),
        up=("update db",),
    ),
    Case(
        what="The DNS record was led elsewhere",
        change=lambda site: site.change(
            "PUT", f"{_record(site)}/{site.id('record')}", {"type": "A", "data": "192.0.2.1"}
        ),
        holds=lambda site: site.found(
            "domain_records", _record(site), lambda record: record["data"] == site.id("address")
        ),
        refresh=("update record",),
        up=("update record",),
    ),
    Case(
        what="The TTL of the CDN was changed",
        change=lambda site: site.change("PUT", f"/v2/cdn/endpoints/{site.id('cdn')}", {"ttl": 60}),
        holds=lambda site: site.found("endpoints", "/v2/cdn/endpoints", lambda endpoint: endpoint["ttl"] == 3600),
        refresh=("update cdn",),
        up=("update cdn",),
    ),
    Case(
        what="The grants of the app's Spaces key were changed",
        change=lambda site: site.change(
            "PUT",
            _key(site, "app"),
            {
                "name": site.state["app-key"]["outputs"]["name"],
                "grants": [{"bucket": site.buckets["assets"], "permission": "readwrite"}],
            },
        ),
        holds=lambda site: _grants(site, "app") == {site.buckets["media"]},
        refresh=("update app-key",),
        up=("update app-key",),
    ),
    Case(
        what="Another release was written into `desired.json`",
        change=_overwrite_desired,
        holds=_desires_the_release,
        refresh=("update rollout",),
        up=("update rollout",),
    ),
)

# Each gone, and none of them the ground that others stand on.
DELETED = (
    Case(
        what="The connection pool was deleted",
        change=lambda site: site.change("DELETE", _pool(site)),
        holds=lambda site: site.found("pools", f"{_cluster(site)}/pools", lambda pool: pool["size"] == 20),
        refresh=("delete pool",),
        up=("create pool",),
        effect="until then every page that needs the database fails",
    ),
    Case(
        what="The firewall was deleted",
        change=lambda site: site.change("DELETE", f"/v2/firewalls/{site.id('direct-firewall')}"),
        holds=_ssh_is_closed,
        refresh=("delete direct-firewall",),
        up=("create direct-firewall",),
    ),
    Case(
        what="The CDN endpoint was deleted",
        change=lambda site: site.change("DELETE", f"/v2/cdn/endpoints/{site.id('cdn')}"),
        holds=lambda site: site.found("endpoints", "/v2/cdn/endpoints", lambda endpoint: endpoint["ttl"] == 3600),
        refresh=("delete cdn",),
        up=("create cdn",),
        effect="until then pages come without style; its name is that of the Space, so it comes back under the same",
    ),
    Case(
        what="The DNS record was deleted",
        change=lambda site: site.change("DELETE", f"{_record(site)}/{site.id('record')}"),
        holds=lambda site: site.found(
            "domain_records", _record(site), lambda record: record["data"] == site.id("address")
        ),
        refresh=("delete record",),
        up=("create record",),
    ),
    Case(
        what="The artifact of the release was deleted",
        change=lambda site: _delete_object(site, _artifact(site)),
        holds=lambda site: site.document(_artifact(site)) is not None,
        refresh=("delete artifact",),
        up=("create artifact",),
        effect="none, unless a Droplet joins meanwhile",
    ),
    Case(
        what="The agent's package was deleted",
        change=lambda site: _delete_object(site, _package(site)),
        holds=lambda site: site.document(_package(site)) is not None,
        refresh=("delete agent",),
        up=("create agent",),
        effect="none, unless a Droplet joins meanwhile; `pulumi up` puts it back without a refresh, too",
    ),
    Case(
        what="The environment document of the release was deleted",
        change=lambda site: _delete_object(site, str(site.state["environment"]["outputs"]["key"])),
        holds=lambda site: site.document(str(site.state["environment"]["outputs"]["key"])) is not None,
        refresh=("delete environment",),
        up=("create environment",),
        effect="none, unless a Droplet joins meanwhile",
    ),
    Case(
        what="`desired.json` was deleted",
        change=lambda site: _delete_object(site, "desired.json"),
        holds=_desires_the_release,
        refresh=("delete rollout",),
        up=("create rollout",),
        effect="none: Droplets go on with what they run",
    ),
)

# One after the other: more depends on these.
ALONE = (
    Case(
        what="The Reserved IP was taken from the Droplet",
        change=_unassign,
        holds=lambda site: _holder(site) == site.id("web-1"),
        refresh=("delete assignment",),
        up=("create assignment",),
        effect="until then the site is not reachable",
    ),
    Case(
        what="The Droplet was deleted",
        change=_delete_droplet,
        holds=lambda site: site.found("droplets", "/v2/droplets", lambda droplet: droplet["status"] == "active"),
        refresh=("delete web-1", "delete assignment"),
        up=("create web-1", "update rollout", "create assignment"),
        effect="until then the site is down",
    ),
    Case(
        what="The agent's Spaces key was deleted",
        change=lambda site: site.change("DELETE", _key(site, "agent")),
        holds=lambda site: len(_grants(site, "agent")) == 3,
        refresh=("delete agent-key",),
        up=("create agent-key", "create-replacement web-1", "delete-replaced web-1"),
        effect="none: a Droplet with the new key is made before the old one goes, since user data has the key",
    ),
)


def _balancer(site: Site) -> str:
    return f"/v2/load_balancers/{site.id('balancer')}"


def _replace_balancer(site: Site, **changes: object) -> None:
    """Say the whole of it again, with changes: what is not said is what it is by default."""
    found = site.api.ok(site.api.raw.get(_balancer(site)))["load_balancer"]
    same = (
        *("name", "tag", "vpc_uuid", "size_unit", "algorithm", "forwarding_rules", "health_check"),
        *("redirect_http_to_https", "disable_lets_encrypt_dns_records", "tls_cipher_policy"),
    )
    site.change("PUT", _balancer(site), {name: found[name] for name in same} | changes)


def _one_balancer(site: Site, wanted: Callable[[dict[str, Any]], bool]) -> bool:
    return site.found("load_balancers", "/v2/load_balancers", wanted)


def _is_led_to(site: Site, address: str) -> bool:
    return site.found("domain_records", _record(site), lambda record: record["data"] == address)


def _serve_another_certificate(site: Site) -> None:
    """Upload one, have the balancer serve it, and delete the one of before, which is refused earlier."""
    crt, key = certificates.issue(site.api.world, ["polls.example"], site.api.world.pulumi / "by-hand")
    leaf, end, chain = crt.read_text().partition("-----END CERTIFICATE-----\n")
    pem = {"leaf_certificate": leaf + end, "certificate_chain": chain, "private_key": key.read_text()}
    body = {"name": "by-hand", "type": "custom", **pem}
    made = site.api.ok(site.api.post("/v2/certificates", body))["certificate"]["id"]
    rules = site.api.ok(site.api.raw.get(_balancer(site)))["load_balancer"]["forwarding_rules"]
    others = [rule | {"certificate_id": made} if rule["certificate_id"] else rule for rule in rules]
    _replace_balancer(site, forwarding_rules=others)
    site.change("DELETE", f"/v2/certificates/{site.state['certificate']['outputs']['uuid']}")


def _serves_lets_encrypts(site: Site) -> bool:
    answer = site.api.ok(site.api.raw.get("/v2/certificates"))
    issued = {one["id"] for one in answer["certificates"] if one["type"] == "lets_encrypt"}
    return _one_balancer(site, lambda one: bool({rule["certificate_id"] for rule in one["forwarding_rules"]} & issued))


def _delete_second(site: Site) -> None:
    path = f"/v2/droplets/{site.id('web-2')}"
    site.change("DELETE", path)
    until(lambda: site.get(path), lambda found: found is None)


def _are_two(site: Site) -> bool:
    answer = site.api.ok(site.api.raw.get("/v2/droplets"))
    return [droplet["status"] for droplet in answer["droplets"]] == ["active"] * 2


def _tell_to_leave(site: Site) -> None:
    document = json.loads(site.document("desired.json") or b"{}")
    told = document | {"leaving": [site.id("web-1")]}
    site.api.s3().put_object(Bucket=site.buckets["releases"], Key="desired.json", Body=json.dumps(told).encode())
    until(lambda: _phase(site), lambda phase: phase == "left")


def _phase(site: Site) -> str:
    report = site.api.s3().get_object(Bucket=site.buckets["state"], Key=f"nodes/{site.id('web-1')}.json")
    return str(json.loads(report["Body"].read())["phase"])


def _delete_gateway(site: Site) -> None:
    path = f"/v2/vpc_nat_gateways/{site.id('nat-gateway')}"
    site.change("DELETE", path)
    until(lambda: site.get(path), lambda found: found is None)


def _delete_balancer(site: Site) -> None:
    """Delete it, and let somebody else have its address: the sandbox would give it again."""
    site.change("DELETE", _balancer(site))
    rule = {"entry_protocol": "http", "entry_port": 80, "target_protocol": "http", "target_port": 80}
    site.change("POST", "/v2/load_balancers", {"name": "another", "region": "nyc3", "forwarding_rules": [rule]})


# Two Droplets without a public address, behind a load balancer; one after the other.
BALANCED_SETTINGS = {"web.loadBalancer": True, "web.count": 2, "web.publicNetwork": False, "dnsPatience": 0}
BALANCED = (
    Case(
        what="The load balancer's health check was changed",
        change=lambda site: _replace_balancer(site, health_check={"protocol": "http", "port": 80, "path": "/"}),
        holds=lambda site: _one_balancer(site, lambda one: one["health_check"]["path"] == "/healthz"),
        refresh=("update balancer",),
        up=("update balancer",),
        effect="until then it goes by a page that may need the database: while that is away, all Droplets are out",
    ),
    Case(
        what="Another certificate was given to the load balancer, and its own deleted",
        change=_serve_another_certificate,
        holds=_serves_lets_encrypts,
        refresh=("delete certificate", "update balancer"),
        up=("create certificate", "update balancer"),
        effect="until then they get the other one; one that is in use can't be deleted",
    ),
    Case(
        what="A Droplet behind the load balancer was deleted",
        change=_delete_second,
        holds=_are_two,
        refresh=("delete web-2",),
        up=("create web-2", "update rollout", "replace member-2", "update probe"),
        effect="what it had in its hands is lost; the others serve",
    ),
    Case(
        what="A Droplet behind the load balancer was told to leave, in `desired.json`",
        change=_tell_to_leave,
        holds=lambda site: site.id("web-1") not in json.loads(site.document("desired.json") or b"{}")["leaving"],
        refresh=("delete member-1",),
        up=("create member-1",),
        effect="none: the others serve",
    ),
    Case(
        what="The NAT gateway was deleted",
        change=_delete_gateway,
        holds=lambda site: site.found("vpc_nat_gateways", "/v2/vpc_nat_gateways", lambda one: one["state"] == "ACTIVE"),
        refresh=("delete nat-gateway",),
        up=("create nat-gateway",),
        effect="until then the Droplets reach nothing outside: pages that call others fail, releases wait; afterwards "
        "others see another address",
    ),
    Case(
        what="The load balancer was deleted",
        change=_delete_balancer,
        holds=lambda site: _one_balancer(site, lambda one: one["tag"] != "" and _is_led_to(site, one["ip"])),
        refresh=("delete balancer", "update balancer-firewall"),
        up=("create balancer", "replace balancer-end", "update new-address", "update record", "update handover"),
        effect="until then the site is down; the new one has another address, which the record has once it serves",
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Unseen:
    """A change that neither `refresh` nor `up` finds, and what to do instead."""

    what: str
    why: str
    instead: str
    change: Callable[[Site], None] | None = None  # none where depth `full` is needed: tests/stack/test_full_drift.py
    stays: Callable[[Site], bool] | None = None


def _open_media(site: Site) -> None:
    site.api.s3().put_bucket_acl(Bucket=site.buckets["media"], ACL="public-read")


def _media_is_open(site: Site) -> bool:
    grants = site.api.s3().get_bucket_acl(Bucket=site.buckets["media"])["Grants"]
    return any("AllUsers" in grant["Grantee"].get("URI", "") for grant in grants)


def _power_off(site: Site) -> None:
    site.change("POST", f"{_droplet_path(site)}/actions", {"type": "power_off"})
    until(lambda: _is_off(site), bool)


def _is_off(site: Site) -> bool:
    found = site.get(_droplet_path(site))
    return found is not None and found["droplet"]["status"] == "off"


UNSEEN = (
    Unseen(
        what="The ACL of a Space was changed",
        why="the provider sets a Space's ACL and never reads it",
        instead="`aws s3api put-bucket-acl --acl private --bucket NAME --endpoint-url "
        "https://REGION.digitaloceanspaces.com`",
        change=_open_media,
        stays=_media_is_open,
    ),
    Unseen(
        what="The Droplet was powered off",
        why="power is not a setting of the Droplet; the site is down",
        instead="power it on in the control panel, or `doctl compute droplet-action power-on ID`",
        change=_power_off,
        stays=_is_off,
    ),
    Unseen(
        what="A setting or right of a database role was changed by SQL",
        why="the cluster is closed to the machine that runs Pulumi",
        instead="add this machine to `database.trustedSources` and run `pulumi up`, then run the grants again with "
        "`pulumi up --replace '**-grants'`, then take it out again",
    ),
    Unseen(
        what="A file on the Droplet, or a row in the database, was changed",
        why="neither is Pulumi's",
        instead="`pulumi up --replace '**-web-1'` makes a new Droplet first, then deletes the old one; "
        "rows: DigitalOcean's backups",
    ),
)

CASES = (*CHANGED, *DELETED, *ALONE, *BALANCED)


def page() -> str:
    """Return both tables as a page in Markdown."""
    seen = [f"| {case.what} | {_listed(case.refresh)} | {_listed(case.up)} | {case.effect} |" for case in CASES]
    unseen = [f"| {case.what} | {case.why} | {case.instead} |" for case in UNSEEN]
    return f"{_HEAD}{_lines(seen)}{_BETWEEN}{_lines(unseen)}{_TAIL}"


def _lines(rows: list[str]) -> str:
    return "".join(f"{row}\n" for row in rows)


def _listed(steps: tuple[str, ...]) -> str:
    return ", ".join(f"{op} `{name}`" for op, _, name in (step.partition(" ") for step in steps))


_HEAD = """\
# Changes behind Pulumi's back

`pulumi up` compares the program with Pulumi's *state*, not with DigitalOcean: what somebody changed in the control
panel it neither sees nor touches. `pulumi refresh` reads DigitalOcean, says what differs, and takes it into the state;
the next `pulumi up` then brings back what the program says. `pulumi up --refresh` does both. `pulumi refresh
--preview-only` looks and changes nothing, which is what a nightly check wants.

This page is made by `python -m tests.stack.drift` from the cases that tests/stack/test_drift.py plays through with the
real engine: each change is made by the API, found, fixed, and looked up in the API again. Names are those of the
resources, without the name of the stack in front.

## What is found and fixed
| What happened | `pulumi refresh` | then `pulumi up` | Visitors |
|---|---|---|---|
"""
_BETWEEN = """
## What is not found
| What happened | Why | What to do |
|---|---|---|
"""
_TAIL = """
## What stops `refresh`
When the CORS configuration of the Space for static files is *gone* (not changed), the provider's reading fails with
`NoSuchCORSConfiguration`, and with it the refresh. `pulumi up` doesn't read, so it sees nothing either. Make it again:
`pulumi up --replace '**-assets-cors'`.

A Droplet that was deleted by hand makes the official plugin fail when it is asked to delete it once more (`pulumi
destroy`, or an `up` that replaces it): run `pulumi refresh` first, or `pulumi destroy --refresh`. The same holds for a
Reserved IP that was taken from its Droplet.
"""


if __name__ == "__main__":
    sys.stdout.write(page())
