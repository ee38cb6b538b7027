"""Domains and their DNS records."""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Literal

from starlette.responses import Response

from sandbox.api import errors
from sandbox.api.calls import Call, Fields, Router, answer, nothing
from sandbox.model.store import Body, Resource, Store
from sandbox.model.topology_of import fully_qualified

router = Router("Domain")

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"({_LABEL}\.)+{_LABEL}", re.IGNORECASE)
_RECORD = re.compile(rf"@|\*|(\*\.)?{_LABEL}(\.{_LABEL})*", re.IGNORECASE)
_NAMESERVERS = ("ns1.digitalocean.com", "ns2.digitalocean.com", "ns3.digitalocean.com")
_TTL = 1800  # seconds, of records made without one
_MIN_TTL = 30
_HOST_TYPES = frozenset({"CAA", "CNAME", "MX", "NS", "SRV"})
_REPORTS_TO = "iodef"  # a tag of CAA records, whose data is then an address of a person
# What a record has besides name, data and TTL: null where its type has no use for it, whatever was sent.
_OF_TYPE = {"MX": {"priority"}, "SRV": {"priority", "port", "weight"}, "CAA": {"flags", "tag"}}
_EXTRA = ("priority", "port", "weight", "flags", "tag")
_REQUIRED = {"MX": ("priority",), "SRV": ("name", "priority", "port"), "CAA": ("name", "flags", "tag")}


class _Create(Fields):
    name: str
    ip_address: str | None = None


class _Values(Fields):
    name: str | None = None
    ttl: int | None = None
    priority: int | None = None
    port: int | None = None
    weight: int | None = None
    flags: int | None = None
    tag: str | None = None


class _Record(_Values):
    type: Literal["A", "AAAA", "CAA", "CNAME", "MX", "NS", "SOA", "SRV", "TXT"]
    data: str


class _Change(_Values):
    type: str | None = None
    data: str | None = None


@router.add("POST", "/domains", "domains_create")
async def create(call: Call) -> Response:
    """Create a zone, with the records that every zone has."""
    fields = call.fields(_Create)
    if not _DOMAIN.fullmatch(fields.name):
        raise errors.unprocessable(f'name: must be a domain name, got "{fields.name}"')
    if call.store.get("domain", fields.name):
        raise errors.unprocessable(f'name: "{fields.name}" name already exists')
    if fields.ip_address:
        _check_data("A", fields.ip_address)
    domain = call.store.put("domain", fields.name, {"name": fields.name, "ttl": _TTL})
    _put(call.store, domain, _record("SOA", "@", str(_TTL)))
    for server in _NAMESERVERS:
        _put(call.store, domain, _record("NS", "@", server))
    if fields.ip_address:
        _put(call.store, domain, _record("A", "@", fields.ip_address))
    await call.cloud.apply()
    return answer({"domain": _body(call.store, domain)}, 201)


@router.add("GET", "/domains", "domains_list")
async def list_all(call: Call) -> Response:
    """List zones."""
    return call.listing("domains", (_body(call.store, domain) for domain in call.store.list("domain")))


@router.add("GET", "/domains/{name}", "domains_get")
async def get(call: Call) -> Response:
    """Describe a zone."""
    return answer({"domain": _body(call.store, call.cloud.find("domain", call.path("name")))})


@router.add("DELETE", "/domains/{name}", "domains_delete")
async def delete(call: Call) -> Response:
    """Delete a zone and its records."""
    domain = call.cloud.find("domain", call.path("name"))
    for record in _records(call.store, domain.id):
        call.store.delete("domain_record", record.id)
    call.store.delete("domain", domain.id)
    await call.cloud.apply()
    return nothing()


@router.add("POST", "/domains/{name}/records", "domains_create_record")
async def create_record(call: Call) -> Response:
    """Create a record."""
    domain = call.cloud.find("domain", call.path("name"))
    fields = call.fields(_Record)
    if fields.type == "SOA":
        raise errors.not_implemented("type: every zone of the sandbox has its SOA record, and no other")
    for name in _REQUIRED.get(fields.type, ("name",)):
        if getattr(fields, name) is None:
            raise errors.unprocessable(f"{name}: required for records of type {fields.type}")
    body = _record(fields.type, _check_name(fields.name or "@", domain.id), "")
    body |= fields.model_dump(include=_OF_TYPE.get(fields.type, set()))
    body["data"] = _check_data(fields.type, fields.data, domain.id, fields.tag)
    body["ttl"] = _check_ttl(fields.ttl or _TTL)  # 0, as Go writes what is not set
    _check_cname(call.store, domain, body)
    record = _put(call.store, domain, body)
    await call.cloud.apply()
    return answer({"domain_record": record.body}, 201)


@router.add("GET", "/domains/{name}/records", "domains_list_records", query=("name", "type"))
async def list_records(call: Call) -> Response:
    """List records, all or by fully qualified name or type."""
    domain = call.cloud.find("domain", call.path("name"))
    name, type_ = call.query("name"), call.query("type")
    return call.listing(
        "domain_records",
        (
            record.body
            for record in _records(call.store, domain.id)
            if (not name or name == fully_qualified(record.body["name"], domain.id))
            and (not type_ or type_ == record.body["type"])
        ),
    )


@router.add("GET", "/domains/{name}/records/{id}", "domains_get_record")
async def get_record(call: Call) -> Response:
    """Describe a record."""
    return answer({"domain_record": _wanted(call).body})


@router.add("PUT", "/domains/{name}/records/{id}", "domains_update_record")
async def update_record(call: Call) -> Response:
    """Change a record; its type stays."""
    return await _change(call)


@router.add("PATCH", "/domains/{name}/records/{id}", "domains_patch_record")
async def patch_record(call: Call) -> Response:
    """Do the same as PUT."""
    return await _change(call)


@router.add("DELETE", "/domains/{name}/records/{id}", "domains_delete_record")
async def delete_record(call: Call) -> Response:
    """Delete a record."""
    record = _wanted(call)
    if record.body["type"] == "SOA":
        raise errors.unprocessable("the SOA record can't be deleted")
    call.store.delete("domain_record", record.id)
    await call.cloud.apply()
    return nothing()


def zone_of(store: Store, name: str) -> Resource | None:
    """Return the zone that a name is in: of several the longest, as DNS does."""
    zones = [zone for zone in store.list("domain") if f".{name}".endswith(f".{zone.id}")]
    return max(zones, key=lambda zone: len(zone.id), default=None)


def point(store: Store, name: str, address: str) -> None:
    """Write an address record for a name of the account, unless there is the same already."""
    zone = zone_of(store, name.removeprefix("*."))
    if zone is None:  # deleted meanwhile
        return
    body = _record("A", "@" if name == zone.id else name.removesuffix(f".{zone.id}"), address)
    same = ("type", "name", "data")
    if not any(all(other.body[key] == body[key] for key in same) for other in _records(store, zone.id)):
        _put(store, zone, body)


async def _change(call: Call) -> Response:
    record = _wanted(call)
    fields = call.fields(_Change)
    type_, domain = record.body["type"], record.private["domain"]
    if fields.type not in {None, type_}:
        raise errors.unprocessable(f'type: can\'t change from {type_}, got "{fields.type}"')
    sent = fields.model_dump(include=_OF_TYPE.get(type_, set()))
    body = record.body | {name: value for name, value in sent.items() if value is not None}
    if fields.name is not None:
        body["name"] = _check_name(fields.name, domain)
    if fields.data is not None:
        body["data"] = _check_data(type_, fields.data, domain, body["tag"])
    body["ttl"] = _check_ttl(fields.ttl or body["ttl"])
    changed = call.store.put("domain_record", record.id, body)
    await call.cloud.apply()
    return answer({"domain_record": changed.body})


def _record(type_: str, name: str, data: str) -> Body:
    return {"id": 0, "type": type_, "name": name, "data": data, "ttl": _TTL} | dict.fromkeys(_EXTRA)


def _put(store: Store, domain: Resource, body: Body) -> Resource:
    record_id = store.next_id("domain_record")
    return store.put("domain_record", record_id, body | {"id": record_id}, {"domain": domain.id})


def _records(store: Store, domain: str) -> list[Resource]:
    return [record for record in store.list("domain_record") if record.private["domain"] == domain]


def _wanted(call: Call) -> Resource:
    domain = call.cloud.find("domain", call.path("name"))
    record = call.cloud.find("domain_record", call.path("id"))
    if record.private["domain"] != domain.id:
        raise errors.not_found()
    return record


def _check_name(name: str, domain: str) -> str:
    """Return a record's name as it is stored: below its domain, also when it comes in full, with a dot at the end."""
    if name == f"{domain}.":
        return "@"
    name = name.removesuffix(f".{domain}.")
    if not _RECORD.fullmatch(name):
        raise errors.unprocessable(f'name: must be @ or a name below {domain}, got "{name}"')
    return name


def _check_data(type_: str, data: str, domain: str = "", tag: str | None = None) -> str:
    """Return data as it is stored: host names lose the dot that they must come with, and the domain's own is @."""
    try:
        if type_ == "A":
            IPv4Address(data)
        if type_ == "AAAA":
            IPv6Address(data)
    except AddressValueError as error:
        raise errors.unprocessable(f'data: {type_} records have an address, got "{data}": {error}') from error
    if not _is_host(type_, tag) or data == "@":
        return data
    if not data.endswith("."):
        raise errors.unprocessable(f'data: Data needs to end with a dot (.), or be @, got "{data}"')
    return "@" if data == f"{domain}." else data.removesuffix(".")


def _is_host(type_: str, tag: str | None) -> bool:
    return type_ in _HOST_TYPES and tag != _REPORTS_TO


def _check_ttl(ttl: int) -> int:
    if ttl < _MIN_TTL:
        raise errors.unprocessable(f"ttl: must be at least {_MIN_TTL}, got {ttl}")
    return ttl


def _check_cname(store: Store, domain: Resource, body: Body) -> None:
    if (body["type"], body["name"]) == ("CNAME", "@"):
        raise errors.unprocessable("name: a CNAME record can't be at the apex of a domain")
    others = {other.body["type"] for other in _records(store, domain.id) if other.body["name"] == body["name"]}
    if "CNAME" in others or (others and body["type"] == "CNAME"):
        raise errors.unprocessable(f'name: CNAME records cannot share a name with other records, got "{body["name"]}"')


def _body(store: Store, domain: Resource) -> Body:
    """Answer a domain with its zone file."""
    lines = [f"$ORIGIN {domain.id}.", f"$TTL {domain.body['ttl']}"]
    for record in _records(store, domain.id):
        body = record.body
        name = f"{fully_qualified(body['name'], domain.id)}."
        if body["type"] == "SOA":
            lines.append(f"{name} IN SOA {_NAMESERVERS[0]}. hostmaster.{domain.id}. 1 10800 3600 604800 1800")
            continue
        lines.append(f"{name} {body['ttl']} IN {body['type']} {_zone_data(body)}")
    return domain.body | {"zone_file": "\n".join(lines) + "\n"}


def _zone_data(body: Body) -> str:
    """Return a record's data as a zone file has it: numbers first, then the tag, host names with their dot."""
    data = body["data"]
    if body["type"] == "TXT" or body["tag"]:
        data = f'"{data}"'
    elif _is_host(body["type"], None) and data != "@":
        data += "."
    before = (body[name] for name in ("priority", "weight", "port", "flags", "tag"))
    return " ".join([*(str(value) for value in before if value is not None), data])
