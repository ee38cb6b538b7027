"""LoadBalancer: a regional one, in front of Droplets by id or by tag."""

from collections.abc import Iterable
from typing import Any

from digitalocean_provider import sets
from digitalocean_provider.errors import ProviderError
from digitalocean_provider.operation import Operation
from digitalocean_provider.resources.certificate import by_name
from digitalocean_provider.schema import (
    COMPUTED,
    OPTIONAL_COMPUTED,
    REQUIRED,
    Failure,
    Field,
    Schema,
    is_empty,
    lower,
    unordered,
)
from plugin_base.wire import Properties

# Our properties, the API's names.
_RULE = {
    "entryProtocol": "entry_protocol",
    "entryPort": "entry_port",
    "targetProtocol": "target_protocol",
    "targetPort": "target_port",
    "tlsPassthrough": "tls_passthrough",
}
_HEALTH = {
    "protocol": "protocol",
    "port": "port",
    "path": "path",
    "checkIntervalSeconds": "check_interval_seconds",
    "responseTimeoutSeconds": "response_timeout_seconds",
    "healthyThreshold": "healthy_threshold",
    "unhealthyThreshold": "unhealthy_threshold",
}
_STICKY = {"type": "type", "cookieName": "cookie_name", "cookieTtlSeconds": "cookie_ttl_seconds"}
_FIREWALL = {"allows": "allow", "denies": "deny"}
_PLAIN = {
    "name": "name",
    "algorithm": "algorithm",
    "region": "region",
    "redirectHttpToHttps": "redirect_http_to_https",
    "enableProxyProtocol": "enable_proxy_protocol",
    "enableBackendKeepalive": "enable_backend_keepalive",
    "httpIdleTimeoutSeconds": "http_idle_timeout_seconds",
    "projectId": "project_id",
    "vpcUuid": "vpc_uuid",
    "type": "type",
    "network": "network",
    "networkStack": "network_stack",
    "tlsCipherPolicy": "tls_cipher_policy",
}
# Of the official plugin's schema; the description of the API has other thresholds.
_HEALTH_DEFAULTS = {
    "checkIntervalSeconds": 10,
    "responseTimeoutSeconds": 5,
    "unhealthyThreshold": 3,
    "healthyThreshold": 5,
}
_BOUNDS = {
    "port": (1, 65535),
    "checkIntervalSeconds": (3, 300),
    "responseTimeoutSeconds": (3, 300),
    "unhealthyThreshold": (2, 10),
    "healthyThreshold": (2, 10),
}
_COOKIE = range(2, 41)  # characters
_SIZES = {"lb-small": 1, "lb-medium": 3, "lb-large": 6}


def said_rules(rules: list[Properties]) -> Any:  # noqa: ANN401 -- what is compared
    """Compare rules as a set, and certificates by their name, which is also what the id becomes in the state."""
    return unordered(
        [
            {name: rule.get(name) or False for name in _RULE}
            | {"certificate": rule.get("certificateName") or rule.get("certificateId") or ""}
            for rule in rules
        ]
    )


def said_health(check: Properties) -> Properties:
    """Compare with the defaults filled in."""
    return _HEALTH_DEFAULTS | {name: value for name, value in check.items() if name in _HEALTH and value}


def said_sticky(sticky: Properties) -> Properties:
    """Compare what is said; nothing is the type none."""
    return {"type": "none"} | {name: value for name, value in sticky.items() if name in _STICKY and value}


def said_firewall(firewall: Properties) -> Properties:
    """Compare what is said."""
    return {name: firewall[name] for name in _FIREWALL if firewall.get(name)}


def same_size(_old: object, new: object, inputs: Properties) -> bool:
    """Tell whether a size means as many nodes as are asked for."""
    return _SIZES.get(str(new)) == int(inputs.get("sizeUnit", 1))


def health_problems(check: Properties) -> Iterable[Failure]:
    """Refuse checks that the official plugin refuses."""
    for name in ("protocol", "port"):
        if not check.get(name):
            yield Failure(f"healthcheck.{name}", "is required, got nothing; set it")
    for name, (least, most) in _BOUNDS.items():
        if name in check and not least <= check[name] <= most:
            yield Failure(f"healthcheck.{name}", f"must be from {least} to {most}, got {check[name]}")
    if (check.get("protocol") == "tcp") == bool(check.get("path")):
        yield Failure(
            "healthcheck.path", f"is for http and https, which need it, got {check.get('path')!r}; see protocol"
        )


def sticky_problems(sticky: Properties) -> Iterable[Failure]:
    """Refuse cookies that the official plugin refuses."""
    cookies = sticky.get("type") == "cookies"
    for name in ("cookieName", "cookieTtlSeconds"):
        if bool(sticky.get(name)) != cookies:
            yield Failure(
                f"stickySessions.{name}", f"is for the type cookies, which needs it, got {sticky.get(name)!r}"
            )
    if cookies and sticky.get("cookieName") and len(sticky["cookieName"]) not in _COOKIE:
        yield Failure("stickySessions.cookieName", f"must have 2 to 40 characters, got {sticky['cookieName']!r}")


def rule_problems(rules: list[Properties]) -> Iterable[Failure]:
    """Refuse ports that the official plugin refuses."""
    for index, rule in enumerate(rules):
        for name in ("entryPort", "targetPort"):
            if not 1 <= rule.get(name, 0) <= _BOUNDS["port"][1]:
                yield Failure(f"forwardingRules[{index}].{name}", f"must be from 1 to 65535, got {rule.get(name)}")


SCHEMA = Schema(
    type_name="digitalocean:index/loadBalancer:LoadBalancer",
    label="load balancer",
    fields={
        "name": Field(auto_name=True),
        "region": Field(role=REQUIRED, replaces=True, normalise=lower),
        "algorithm": Field(default="round_robin", choices=("round_robin", "least_connections")),
        "forwardingRules": Field(
            normalise=said_rules, members=(*_RULE, "certificateName", "certificateId"), rule=rule_problems
        ),
        "healthcheck": Field(
            role=OPTIONAL_COMPUTED, normalise=said_health, members=tuple(_HEALTH), rule=health_problems
        ),
        "stickySessions": Field(
            role=OPTIONAL_COMPUTED, normalise=said_sticky, members=tuple(_STICKY), rule=sticky_problems
        ),
        "firewall": Field(role=OPTIONAL_COMPUTED, normalise=said_firewall, members=tuple(_FIREWALL)),
        "dropletIds": Field(role=OPTIONAL_COMPUTED, normalise=unordered),
        "dropletTag": Field(normalise=lower),
        "redirectHttpToHttps": Field(default=False),
        "enableProxyProtocol": Field(default=False),
        "enableBackendKeepalive": Field(default=False),
        "disableLetsEncryptDnsRecords": Field(default=False),
        "httpIdleTimeoutSeconds": Field(role=OPTIONAL_COMPUTED),
        "projectId": Field(role=OPTIONAL_COMPUTED),
        "size": Field(unread=True, choices=tuple(_SIZES), same=same_size),  # read only where there are no nodes
        "sizeUnit": Field(role=OPTIONAL_COMPUTED),
        "vpcUuid": Field(role=OPTIONAL_COMPUTED, replaces=True),
        "type": Field(role=OPTIONAL_COMPUTED, replaces=True),
        # The official plugin never reads these.
        "network": Field(replaces=True, unread=True),
        "networkStack": Field(replaces=True, unread=True),
        "tlsCipherPolicy": Field(unread=True),
        "ip": Field(role=COMPUTED),  # as an input it is an address that was brought along, which the sandbox has not
        "ipv6": Field(role=COMPUTED),
        "loadBalancerUrn": Field(role=COMPUTED),
        "status": Field(role=COMPUTED),
    },
    default_timeouts={"create": 600},
)


def _sent(properties: Properties | None, names: dict[str, str]) -> Properties:
    """Return what is said under the API's names, without what is zero: godo leaves that out."""
    found = {api: (properties or {}).get(ours) for ours, api in names.items()}
    return {api: value for api, value in found.items() if not is_empty(value)}


def _rules(op: Operation, rules: list[Properties]) -> list[Properties]:
    def key(rule: Properties) -> str:
        certificate = rule.get("certificateId") or rule.get("certificateName") or ""
        ports = (f"{rule[f'{side}Port']}-{rule[f'{side}Protocol'].lower()}-" for side in ("entry", "target"))
        return sets.code(f"{''.join(ports)}{certificate}-{str(bool(rule.get('tlsPassthrough'))).lower()}-")

    return [_sent(rule, _RULE) | _certificate(op, rule) for rule in sorted(rules, key=key)]


def _certificate(op: Operation, rule: Properties) -> Properties:
    name = rule.get("certificateName") or rule.get("certificateId")
    if not name:
        return {}
    found = by_name(op, name)
    if found is None and not rule.get("certificateName"):  # an id, as it was written before there were names
        found = op.call("GET", "certificates", name)["certificate"]
    if found is None:
        raise ProviderError(f"forwardingRules: no certificate is called {name!r}; create it first")
    return {"certificate_id": found["id"]}


def _body(op: Operation, wanted: Properties) -> dict[str, Any]:
    if wanted.get("dropletTag"):
        members: Properties = {"tag": wanted["dropletTag"]}
    else:
        members = _sent({"dropletIds": sets.members(wanted.get("dropletIds"))}, {"dropletIds": "droplet_ids"})
    size = {"size_unit": wanted["sizeUnit"]} if wanted.get("sizeUnit") else _sent(wanted, {"size": "size"})
    parts = {
        "forwarding_rules": _rules(op, wanted.get("forwardingRules") or []),
        "health_check": _sent(_filled(wanted.get("healthcheck")), _HEALTH),
        "sticky_sessions": _sent(wanted.get("stickySessions"), _STICKY),
        "firewall": _sent(wanted.get("firewall"), _FIREWALL),
    }
    body = _sent(wanted, _PLAIN) | size | members | {name: part for name, part in parts.items() if part}
    # A pointer in godo, whose zero is sent.
    return body | {"disable_lets_encrypt_dns_records": bool(wanted.get("disableLetsEncryptDnsRecords"))}


def _filled(check: Properties | None) -> Properties:
    return _HEALTH_DEFAULTS | check if check else {}


def create(op: Operation, inputs: Properties) -> Properties:
    """Create it and wait until it is active."""
    if inputs.get("dropletIds") and inputs.get("dropletTag"):
        raise ProviderError("dropletIds, dropletTag: must be one of them, got both")
    balancer = op.call("POST", "load_balancers", body=_body(op, inputs))["load_balancer"]
    op.keep(balancer["id"])
    _wait_until_active(op, op.id)
    return read(op, op.id, {}) or {}


def _wait_until_active(op: Operation, id_: str) -> None:
    def probe() -> tuple[str, bool | None]:
        status = op.call("GET", "load_balancers", id_)["load_balancer"]["status"]
        if status not in {"new", "active"}:
            raise ProviderError(f"unexpected status {status!r} of load balancer {id_}, wanted 'active'")
        return f"status={status}", True if status == "active" else None

    op.wait_for(f"load balancer {id_}", probe, timeout=SCHEMA.default_timeouts["create"])


def read(op: Operation, id_: str, _state: Properties) -> Properties | None:
    """Return the load balancer, or None when it is gone."""
    reply = op.find("GET", "load_balancers", id_)
    if reply is None:
        return None
    balancer = reply["load_balancer"]
    unread = {"network", "network_stack", "tls_cipher_policy", "region"}
    properties = {ours: balancer.get(api) for ours, api in _PLAIN.items() if api not in unread}
    return properties | {
        "region": balancer["region"]["slug"],
        "sizeUnit": balancer.get("size_unit"),
        "dropletTag": balancer.get("tag") or "",
        "dropletIds": sets.members(balancer.get("droplet_ids")),
        "disableLetsEncryptDnsRecords": balancer.get("disable_lets_encrypt_dns_records", False),
        "forwardingRules": [_read_rule(op, rule) for rule in balancer["forwarding_rules"]],
        "healthcheck": _read(balancer.get("health_check"), _HEALTH),
        "stickySessions": _read(balancer.get("sticky_sessions"), _STICKY),
        "firewall": {ours: (balancer.get("firewall") or {}).get(api) or [] for ours, api in _FIREWALL.items()},
        "ip": balancer.get("ip"),
        "ipv6": balancer.get("ipv6"),
        "loadBalancerUrn": f"do:loadbalancer:{balancer['id']}",
        "status": balancer["status"],
    }


def _read(part: Properties | None, names: dict[str, str]) -> Properties:
    found = {ours: (part or {}).get(api) for ours, api in names.items()}
    return {name: value for name, value in found.items() if value not in {None, ""}}


def _read_rule(op: Operation, rule: Properties) -> Properties:
    properties = {ours: rule.get(api) for ours, api in _RULE.items()} | {
        "tlsPassthrough": bool(rule["tls_passthrough"])
    }
    if rule.get("certificate_id"):
        name = op.call("GET", "certificates", rule["certificate_id"])["certificate"]["name"]
        properties |= {"certificateId": name, "certificateName": name}
    return properties


def update(op: Operation, id_: str, state: Properties, inputs: Properties, changed: set[str]) -> None:
    """Replace the whole, in place; what the program leaves to the API stays. Finish an interrupted creation."""
    if not changed:
        _wait_until_active(op, id_)
        return
    chosen = (name for name, field in SCHEMA.inputs.items() if field.role is OPTIONAL_COMPUTED)
    kept = {name: state[name] for name in chosen if name in state}
    op.call("PUT", "load_balancers", id_, body=_body(op, kept | inputs))


def delete(op: Operation, id_: str, _state: Properties) -> None:
    """Delete it; its Droplets stay."""
    op.find("DELETE", "load_balancers", id_)
