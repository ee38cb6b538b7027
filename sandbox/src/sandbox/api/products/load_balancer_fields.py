"""What may be said of a load balancer: the fields, their bounds, and the rules between them."""

import re
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Annotated, Literal

from pydantic import Field

from sandbox.api import errors
from sandbox.api.calls import Cloud, Fields
from sandbox.model.store import Body, Store

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[int, Field(ge=3, le=300)]
Threshold = Annotated[int, Field(ge=2, le=10)]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,254}")
_COOKIE = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{2,40}")
_SIZES = {"lb-small": 1, "lb-medium": 3, "lb-large": 6}  # nodes
_MOST_NODES = 100
_MOST_BY_NAME = 10  # Droplets
_IDLE = range(30, 601)  # seconds
_DEFAULT_IDLE = 60
_HTTPS_PORT = 443
_ENCRYPTED = frozenset({"https", "http2", "http3"})
_UNENCRYPTED_TARGETS = {"http": {"http"}, "tcp": {"tcp"}, "udp": {"udp"}}
_TERMINATED_TARGETS = {"http", "https", "http2"}
_SOURCES: dict[str, Callable[[str], object]] = {"ip": ip_address, "cidr": partial(ip_network, strict=False)}
_NO_COOKIES = {"type": "none"}
# What HAProxy of Debian can't do, and what a full world has not.
_API_ONLY = ("http3", "udp")


class Rule(Fields):
    """A forwarding rule."""

    entry_protocol: Literal["http", "https", "http2", "http3", "tcp", "udp"]
    entry_port: Port
    target_protocol: Literal["http", "https", "http2", "tcp", "udp"]
    target_port: Port
    certificate_id: str | None = None
    tls_passthrough: bool | None = None


class HealthCheck(Fields):
    """How members are looked at."""

    protocol: Literal["http", "https", "tcp"] | None = None
    port: Port | None = None
    path: str | None = None
    check_interval_seconds: Seconds | None = None
    response_timeout_seconds: Seconds | None = None
    unhealthy_threshold: Threshold | None = None
    healthy_threshold: Threshold | None = None
    proxy_protocol: bool | None = None  # the Go client's; the description has it not


class StickySessions(Fields):
    """Whether a visitor stays with a member."""

    type: Literal["cookies", "none"] | None = None
    cookie_name: str | None = None
    cookie_ttl_seconds: int | None = None


class Firewall(Fields):
    """Who may connect."""

    allow: list[str] | None = None
    deny: list[str] | None = None


class Balancer(Fields):
    """The whole of a load balancer, as it is created and replaced."""

    name: str
    region: str | None = None
    forwarding_rules: list[Rule]
    droplet_ids: list[int] | None = None
    tag: str | None = None
    type: str | None = None
    size: Literal["lb-small", "lb-medium", "lb-large", ""] | None = None
    size_unit: int | None = None
    algorithm: Literal["round_robin", "least_connections", ""] | None = None
    health_check: HealthCheck | None = None
    sticky_sessions: StickySessions | None = None
    redirect_http_to_https: bool | None = None
    enable_proxy_protocol: bool | None = None
    enable_backend_keepalive: bool | None = None
    http_idle_timeout_seconds: int | None = None
    vpc_uuid: str | None = None
    project_id: str | None = None
    disable_lets_encrypt_dns_records: bool | None = None
    firewall: Firewall | None = None
    network: str | None = None
    network_stack: str | None = None
    tls_cipher_policy: str | None = None
    # Of the Go client; the description has them not.
    ip: str | None = None
    subnet_uuid: str | None = None
    validate_only: bool | None = None


class Rules(Fields):
    """Forwarding rules that come or go."""

    forwarding_rules: list[Rule]


class Droplets(Fields):
    """Members that come or go."""

    droplet_ids: list[int]


def content(cloud: Cloud, fields: Balancer) -> Body:
    """Return what is answered of these fields, with DigitalOcean's defaults for what is not said, or raise 422."""
    _check_kind(fields)
    if not _NAME.fullmatch(fields.name):
        raise errors.unprocessable(f'name: must be letters, digits, dashes and periods, got "{fields.name}"')
    if fields.tag and fields.droplet_ids:
        raise errors.unprocessable("droplet_ids, tag: must be one of them, got both")
    if fields.tag and cloud.store.get("tag", fields.tag) is None:
        raise errors.unprocessable(f'tag: the tag "{fields.tag}" does not exist; create it first')
    rules = forwarding_rules(cloud, fields.forwarding_rules)
    redirects = bool(fields.redirect_http_to_https)
    if redirects and not any(r["entry_port"] == _HTTPS_PORT and r["entry_protocol"] in _ENCRYPTED for r in rules):
        raise errors.unprocessable("redirect_http_to_https: needs a forwarding rule of https or http2 on port 443")
    nodes = _nodes(fields)
    return {
        "name": fields.name,
        "size": next((slug for slug, count in _SIZES.items() if count == nodes), ""),
        "size_unit": nodes,
        "algorithm": fields.algorithm or "round_robin",
        "forwarding_rules": rules,
        "health_check": _health_check(fields.health_check or HealthCheck()),
        "sticky_sessions": _sticky_sessions(fields.sticky_sessions or StickySessions()),
        "tag": fields.tag or "",
        "droplet_ids": list(dict.fromkeys(fields.droplet_ids or [])),
        "redirect_http_to_https": redirects,
        "enable_proxy_protocol": bool(fields.enable_proxy_protocol),
        "enable_backend_keepalive": bool(fields.enable_backend_keepalive),
        "disable_lets_encrypt_dns_records": bool(fields.disable_lets_encrypt_dns_records),
        "http_idle_timeout_seconds": _idle(fields.http_idle_timeout_seconds),
        "firewall": _firewall(fields.firewall or Firewall()),
        "network": "EXTERNAL",
        "network_stack": "IPV4",
        "type": "REGIONAL",
        "tls_cipher_policy": _one_of("tls_cipher_policy", fields.tls_cipher_policy, "DEFAULT", "STRONG"),
    }


def forwarding_rules(cloud: Cloud, rules: list[Rule]) -> list[Body]:
    """Return rules as they are answered, or raise 422 for one that can't be, and for ports that are taken twice."""
    if not rules:
        raise errors.unprocessable("forwarding_rules: at least one rule is required")
    shown = [_rule(cloud, rule) for rule in rules]
    taken: set[tuple[int, bool]] = set()
    for rule in shown:
        # UDP, which HTTP/3 is as well, has ports of its own.
        entry = (rule["entry_port"], rule["entry_protocol"] in {"udp", "http3"})
        if entry in taken:
            raise errors.unprocessable(f"forwarding_rules: entry ports must be unique, got {rule['entry_port']} twice")
        taken.add(entry)
    return shown


def check_droplets(store: Store, droplet_ids: list[int], balancer: Body) -> None:
    """Raise 422 for members that don't exist, that the load balancer can't reach, and for too many."""
    if len(droplet_ids) > _MOST_BY_NAME:
        raise errors.unprocessable(
            f"droplet_ids: must be at most {_MOST_BY_NAME}, got {len(droplet_ids)}; use a tag for more"
        )
    for droplet_id in droplet_ids:
        droplet = store.get("droplet", droplet_id)
        if droplet is None:
            raise errors.unprocessable(f"droplet_ids: no Droplet has the id {droplet_id}")
        if droplet.body["vpc_uuid"] != balancer["vpc_uuid"]:
            raise errors.unprocessable(
                f"droplet_ids: {droplet_id} is in the VPC {droplet.body['vpc_uuid']}, "
                f"but the load balancer is in {balancer['vpc_uuid']}"
            )


def _check_kind(fields: Balancer) -> None:
    """Raise 501 for other kinds of load balancers than a regional one with a public IPv4 address."""
    for name, value, has, others in (
        ("type", fields.type, "REGIONAL", ("GLOBAL", "REGIONAL_NETWORK")),
        ("network", fields.network, "EXTERNAL", ("INTERNAL",)),
        ("network_stack", fields.network_stack, "IPV4", ("DUALSTACK",)),
    ):
        if _one_of(name, value, has, *others) != has:
            raise errors.not_implemented(f'{name}: the sandbox has {has}, got "{value}"')
    only_clients = {"ip": fields.ip, "subnet_uuid": fields.subnet_uuid, "validate_only": fields.validate_only}
    for name, said in only_clients.items():
        if said:
            raise errors.not_implemented(f"{name}: DigitalOcean has this field, the sandbox doesn't; leave it out")


def _one_of(name: str, value: str | None, default: str, *others: str) -> str:
    if (chosen := (value or default).upper()) not in {default, *others}:
        raise errors.unprocessable(f'{name}: must be {" or ".join((default, *others))}, got "{value}"')
    return chosen


def _nodes(fields: Balancer) -> int:
    if fields.size and fields.size_unit:
        raise errors.unprocessable("size, size_unit: must be one of them, got both")
    nodes = fields.size_unit or _SIZES[fields.size or "lb-small"]
    if not 1 <= nodes <= _MOST_NODES:
        raise errors.unprocessable(f"size_unit: must be 1 to {_MOST_NODES}, got {nodes}")
    return nodes


def _idle(seconds: int | None) -> int:
    if not seconds:
        return _DEFAULT_IDLE
    if seconds not in _IDLE:
        raise errors.unprocessable(
            f"http_idle_timeout_seconds: must be {_IDLE.start} to {_IDLE.stop - 1}, got {seconds}"
        )
    return seconds


def _rule(cloud: Cloud, rule: Rule) -> Body:
    entry, target, certificate = rule.entry_protocol, rule.target_protocol, rule.certificate_id or ""
    passthrough = bool(rule.tls_passthrough)
    where = f"forwarding_rules: {entry} on port {rule.entry_port}"
    if cloud.world.depth == "full" and entry in _API_ONLY:
        raise errors.not_implemented(
            f"{where}: at depth `full` there is no {entry}; a sandbox of depth `api` takes the rule, and serves nothing"
        )
    if entry not in _ENCRYPTED and (certificate or passthrough):
        raise errors.unprocessable(f"{where}: certificate_id and tls_passthrough are for https, http2 and http3")
    if entry in _ENCRYPTED and bool(certificate) == passthrough:
        raise errors.unprocessable(f"{where}: needs either a certificate_id or tls_passthrough")
    # What goes through unread stays what it is; HTTP/3 can't.
    targets = {entry} - {"http3"} if passthrough else _UNENCRYPTED_TARGETS.get(entry, _TERMINATED_TARGETS)
    if target not in targets:
        allowed = " or ".join(sorted(targets)) or "nothing"
        raise errors.unprocessable(f'{where}: target_protocol must be {allowed}, got "{target}"')
    if certificate:
        found = cloud.store.get("certificate", certificate)
        if found is None:
            raise errors.unprocessable(f'{where}: no certificate has the id "{certificate}"')
        if found.body["state"] != "verified":
            raise errors.unprocessable(f'{where}: the certificate "{found.body["name"]}" is {found.body["state"]}')
    shown = rule.model_dump(exclude={"certificate_id", "tls_passthrough"})
    return shown | {"certificate_id": certificate, "tls_passthrough": passthrough}


def _health_check(check: HealthCheck) -> Body:
    protocol = check.protocol or "http"
    if check.proxy_protocol is not None:
        raise errors.not_implemented("health_check.proxy_protocol: DigitalOcean has this field, the sandbox doesn't")
    if protocol == "tcp" and check.path:
        raise errors.unprocessable(f'health_check.path: must be empty with tcp, got "{check.path}"')
    path = "" if protocol == "tcp" else check.path or "/"
    if path and (not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path):
        raise errors.unprocessable(f'health_check.path: must begin with a slash and have no spaces, got "{path}"')
    return {
        "protocol": protocol,
        "port": check.port or 80,
        "path": path,
        "check_interval_seconds": check.check_interval_seconds or 10,
        "response_timeout_seconds": check.response_timeout_seconds or 5,
        "healthy_threshold": check.healthy_threshold or 5,
        "unhealthy_threshold": check.unhealthy_threshold or 3,
    }


def _sticky_sessions(sticky: StickySessions) -> Body:
    if sticky.type in {None, "none"}:
        if sticky.cookie_name or sticky.cookie_ttl_seconds:
            raise errors.unprocessable("sticky_sessions: cookie_name and cookie_ttl_seconds need the type cookies")
        return dict(_NO_COOKIES)
    if not _COOKIE.fullmatch(sticky.cookie_name or ""):
        raise errors.unprocessable(
            f'sticky_sessions.cookie_name: must be 2 to 40 characters of a cookie\'s name, got "{sticky.cookie_name}"'
        )
    if not sticky.cookie_ttl_seconds or sticky.cookie_ttl_seconds < 1:
        raise errors.unprocessable(
            f"sticky_sessions.cookie_ttl_seconds: must be at least 1, got {sticky.cookie_ttl_seconds}"
        )
    return sticky.model_dump()


def _firewall(firewall: Firewall) -> Body:
    return {name: [_source(name, source) for source in getattr(firewall, name) or []] for name in ("allow", "deny")}


def _source(name: str, source: str) -> str:
    kind, _, value = source.partition(":")
    try:
        _SOURCES[kind](value)
    except (KeyError, ValueError) as error:
        raise errors.unprocessable(
            f'firewall.{name}: must be such as ip:192.0.2.1 or cidr:192.0.2.0/24, got "{source}"'
        ) from error
    return source
