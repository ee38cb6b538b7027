"""VPC networks."""

import re
from ipaddress import IPv4Network

from starlette.responses import Response

from sandbox.api import errors
from sandbox.api.calls import Call, Cloud, Fields, Router, answer, nothing
from sandbox.model import plans
from sandbox.model.store import Body, Resource, Store, now

router = Router("VPC")

_NAME = re.compile(r"[A-Za-z0-9.-]{1,255}")
_MAX_DESCRIPTION = 255
_PRIVATE = tuple(IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
_RESERVED = tuple(IPv4Network(text) for text in ("10.244.0.0/16", "10.245.0.0/16", "10.246.0.0/24", "10.229.0.0/16"))
_SMALLEST, _LARGEST = 28, 16  # prefix lengths
# Ranges of VPCs made without one; the real ones come from all of 10.0.0.0/8.
_AUTOMATIC = IPv4Network("10.100.0.0/14")


class _Create(Fields):
    name: str
    region: str
    ip_range: str | None = None
    description: str | None = None


class _Patch(Fields):
    name: str | None = None
    description: str | None = None
    default: bool | None = None


class _Update(_Patch):
    name: str


@router.add("POST", "/vpcs", "vpcs_create")
async def create(call: Call) -> Response:
    """Create a VPC with the given range, or with one that is free."""
    fields = call.fields(_Create)
    _check_name(call.store, fields.name)
    _check_description(fields.description)
    check_region(fields.region)
    network = _check_range(call.store, fields.ip_range) if fields.ip_range else _free_range(call.store)
    vpc = _put(call.store, fields.name, fields.region, network, fields.description or "")
    await call.cloud.apply()
    return answer({"vpc": vpc.body}, 201)


@router.add("GET", "/vpcs", "vpcs_list")
async def list_all(call: Call) -> Response:
    """List VPCs."""
    return call.listing("vpcs", (vpc.body for vpc in call.store.list("vpc")))


@router.add("GET", "/vpcs/{id}", "vpcs_get")
async def get(call: Call) -> Response:
    """Describe a VPC."""
    return answer({"vpc": call.cloud.find("vpc", call.path("id")).body})


@router.add("PUT", "/vpcs/{id}", "vpcs_update")
async def update(call: Call) -> Response:
    """Rename or describe a VPC, or make it its region's default."""
    return _change(call, call.fields(_Update))


@router.add("PATCH", "/vpcs/{id}", "vpcs_patch")
async def patch(call: Call) -> Response:
    """Change what is named."""
    return _change(call, call.fields(_Patch))


def _change(call: Call, fields: _Patch) -> Response:
    vpc = call.cloud.find("vpc", call.path("id"))
    name = vpc.body["name"] if fields.name is None else fields.name
    if name != vpc.body["name"]:
        _check_name(call.store, name)
    if fields.default is False and vpc.body["default"]:
        raise errors.unprocessable("default: make another VPC of the region its default instead")
    if fields.default and not vpc.body["default"]:
        for other in call.store.list("vpc"):
            if other.body["region"] == vpc.body["region"] and other.body["default"]:
                call.store.put("vpc", other.id, other.body | {"default": False})
        vpc.body["default"] = True
    _check_description(fields.description)
    description = vpc.body["description"] if fields.description is None else fields.description
    changed = call.store.put("vpc", vpc.id, vpc.body | {"name": name, "description": description})
    return answer({"vpc": changed.body})


@router.add("DELETE", "/vpcs/{id}", "vpcs_delete")
async def delete(call: Call) -> Response:
    """Delete a VPC that has no members."""
    vpc = call.cloud.find("vpc", call.path("id"))
    if vpc.body["default"]:
        raise errors.forbidden("Can not delete default VPCs")
    if _members(call.store, vpc.id) or _gateways(call.store, vpc.id):
        raise errors.conflict("Can not delete VPC with members")
    call.store.delete("vpc", vpc.id)
    await call.cloud.apply()
    return nothing()


@router.add("GET", "/vpcs/{id}/members", "vpcs_list_members", query=("resource_type",))
async def members(call: Call) -> Response:
    """List Droplets, load balancers and clusters in a VPC."""
    vpc = call.cloud.find("vpc", call.path("id"))
    wanted = call.query("resource_type")
    shown = (m for m in _members(call.store, vpc.id) if not wanted or m["urn"].startswith(f"do:{wanted}:"))
    return call.listing("members", shown)


def check_region(region: str) -> None:
    """Raise 422 for a region that doesn't exist."""
    if region not in plans.REGIONS:
        raise errors.unprocessable(f'region: must be one of {", ".join(plans.REGIONS)}, got "{region}"')


def vpc_for(cloud: Cloud, wanted: str | None, region: str) -> Resource:
    """Return the VPC of a new Droplet or cluster: the wanted one, else its region's default, made when needed."""
    if wanted:
        vpc = cloud.store.get("vpc", wanted)
        if vpc is None:
            raise errors.unprocessable(f'vpc: no VPC has the id "{wanted}"')
        if vpc.body["region"] != region:
            raise errors.unprocessable(f'vpc: "{wanted}" is in {vpc.body["region"]}, not in {region}')
        return vpc
    for vpc in cloud.store.list("vpc"):
        if vpc.body["default"] and vpc.body["region"] == region:
            return vpc
    return _put(cloud.store, f"default-{region}", region, _free_range(cloud.store), "", default=True)


def _members(store: Store, vpc_id: str) -> list[Body]:
    found = [
        {"urn": f"do:{type_}:{m.id}", "name": m.body["name"], "created_at": m.body["created_at"]}
        for kind, type_ in (("droplet", "droplet"), ("load_balancer", "loadbalancer"))
        for m in store.list(kind)
        if m.body["vpc_uuid"] == vpc_id
    ]
    return found + [
        {"urn": f"do:dbaas:{c.id}", "name": c.body["name"], "created_at": c.body["created_at"]}
        for c in store.list("database") + store.list("database_leaving")
        if c.body["private_network_uuid"] == vpc_id
    ]


def _gateways(store: Store, vpc_id: str) -> bool:
    """Whether a NAT gateway stands in a VPC; whether it is shown among the members, nothing says."""
    return any(gateway.body["vpcs"][0]["vpc_uuid"] == vpc_id for gateway in store.list("vpc_nat_gateway"))


def _put(
    store: Store, name: str, region: str, network: IPv4Network, description: str, *, default: bool = False
) -> Resource:
    vpc_id = store.next_uuid("vpc")
    body = {
        "id": vpc_id,
        "urn": f"do:vpc:{vpc_id}",
        "name": name,
        "description": description,
        "ip_range": str(network),
        "region": region,
        "created_at": now(),
        "default": default,
    }
    return store.put("vpc", vpc_id, body)


def _check_name(store: Store, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise errors.unprocessable(f'name: must be 1-255 letters, digits, dashes and periods, got "{name}"')
    if any(vpc.body["name"] == name for vpc in store.list("vpc")):
        raise errors.unprocessable(f'name: must be unique, a VPC is called "{name}" already')


def _check_description(description: str | None) -> None:
    if len(description or "") > _MAX_DESCRIPTION:
        raise errors.unprocessable(
            f"description: must have at most {_MAX_DESCRIPTION} characters, got {len(description or '')}"
        )


def _check_range(store: Store, text: str) -> IPv4Network:
    try:
        network = IPv4Network(text)
    except ValueError as error:
        raise errors.unprocessable(f'ip_range: must be a network in CIDR notation, got "{text}": {error}') from error
    if not _LARGEST <= network.prefixlen <= _SMALLEST:
        raise errors.unprocessable(f'ip_range: must be from /{_LARGEST} to /{_SMALLEST}, got "{text}"')
    if not any(network.subnet_of(private) for private in _PRIVATE):
        raise errors.unprocessable(f'ip_range: must be private (RFC 1918), got "{text}"')
    for reserved in _RESERVED:
        if network.overlaps(reserved):
            raise errors.unprocessable(f'ip_range: "{text}" overlaps with {reserved}, which DigitalOcean reserves')
    for vpc in store.list("vpc"):
        if network.overlaps(IPv4Network(vpc.body["ip_range"])):
            name = vpc.body["name"]
            raise errors.unprocessable(f'ip_range: "{text}" overlaps with another VPC network in your account: {name}')
    return network


def _free_range(store: Store) -> IPv4Network:
    taken = [IPv4Network(vpc.body["ip_range"]) for vpc in store.list("vpc")]
    for network in _AUTOMATIC.subnets(new_prefix=20):
        if not any(network.overlaps(other) for other in taken):
            return network
    raise errors.unprocessable(f"ip_range: no free range left in {_AUTOMATIC}; name one")
