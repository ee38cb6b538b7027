"""Certificates: uploaded ones, and those that Let's Encrypt issues for names in the account's zones."""

import asyncio
import datetime as dt
import logging
from typing import Literal

from starlette.responses import Response

from sandbox.api import errors
from sandbox.api.calls import Call, Cloud, Fields, Router, answer, nothing
from sandbox.api.products import domains
from sandbox.model.store import Body, Resource, Store, now
from sandbox.world.pem import Pair, PemError, read

logger = logging.getLogger("sandbox.api")
router = Router("Certificate")

_RENEW_BEFORE = dt.timedelta(days=30)
_LOOK_EVERY = 3600.0  # seconds
_FIELDS = {"custom": ("private_key", "leaf_certificate", "certificate_chain"), "lets_encrypt": ("dns_names",)}


class _Create(Fields):
    name: str
    type: Literal["custom", "lets_encrypt"] | None = None
    private_key: str | None = None
    leaf_certificate: str | None = None
    certificate_chain: str | None = None
    dns_names: list[str] | None = None


@router.add("POST", "/certificates", "certificates_create")
async def create(call: Call) -> Response:
    """Take a certificate that was uploaded, or begin to get one."""
    fields = call.fields(_Create)
    kind = fields.type or "custom"
    if not fields.name:
        raise errors.unprocessable('name: must not be empty, got ""')
    if any(found.body["name"] == fields.name for found in call.store.list("certificate")):
        raise errors.unprocessable(f'name: must be unique, a certificate is called "{fields.name}" already')
    for other, own in _FIELDS.items():
        for name in own:
            if other != kind and getattr(fields, name):
                raise errors.unprocessable(f"{name}: is for certificates of the type {other}, not {kind}")
    if kind == "custom":
        certificate = _put(call.store, fields.name, kind, _uploaded(fields))
    else:
        names = _names(call.store, fields.dns_names or [])
        certificate = _put(call.store, fields.name, kind, None, names)
        call.cloud.spawn(_obtain(call.cloud, certificate.id))
    return answer({"certificate": certificate.body}, 201)


@router.add("GET", "/certificates", "certificates_list", query=("name",))
async def list_all(call: Call) -> Response:
    """List certificates, all or the one of a name."""
    name = call.query("name")
    found = (one.body for one in call.store.list("certificate") if not name or one.body["name"] == name)
    return call.listing("certificates", found)


@router.add("GET", "/certificates/{id}", "certificates_get")
async def get(call: Call) -> Response:
    """Describe a certificate; its key is never shown."""
    return answer({"certificate": call.cloud.find("certificate", call.path("id")).body})


@router.add("DELETE", "/certificates/{id}", "certificates_delete")
async def delete(call: Call) -> Response:
    """Delete a certificate that no load balancer uses."""
    certificate = call.cloud.find("certificate", call.path("id"))
    if any(certificate.id in _used(balancer) for balancer in call.store.list("load_balancer")):
        raise errors.forbidden(
            "Make sure the certificate is not in use before deleting it: it is being used by one or more load balancers"
        )
    call.store.delete("certificate", certificate.id)
    return nothing()


def resume(cloud: Cloud) -> None:
    """Go on with what a stopped API left half done, and look from time to time what has to be renewed."""
    for certificate in cloud.store.list("certificate"):
        if certificate.body["state"] == "pending":
            cloud.spawn(_obtain(cloud, certificate.id))
    cloud.spawn(_renew_in_time(cloud))


async def renew(cloud: Cloud, certificate_id: str) -> Resource:
    """Get a certificate of Let's Encrypt anew: it keeps its name, has another id, and its load balancers follow."""
    async with cloud.lock("acme"):
        old = cloud.find("certificate", certificate_id)
        if (old.body["type"], old.body["state"]) != ("lets_encrypt", "verified"):
            raise errors.unprocessable(
                f'certificate: only one of Let\'s Encrypt that is verified renews, got "{old.id}"'
            )
        pair = await cloud.run(cloud.realiser.obtain_certificate, old.body["dns_names"])
        new = _put(cloud.store, old.body["name"], "lets_encrypt", pair, old.body["dns_names"])
        for balancer in cloud.store.list("load_balancer"):
            for rule in balancer.body["forwarding_rules"]:
                if rule["certificate_id"] == old.id:
                    rule["certificate_id"] = new.id
            cloud.store.put("load_balancer", balancer.id, balancer.body)
        cloud.store.delete("certificate", old.id)
    await cloud.apply()
    return new


def point_names(store: Store, balancer: Resource) -> None:
    """Write an address record for each name of the certificates of Let's Encrypt that a load balancer serves."""
    if balancer.body["disable_lets_encrypt_dns_records"] or not balancer.body["ip"]:
        return
    for certificate in store.list("certificate"):
        if certificate.id in _used(balancer) and certificate.body["type"] == "lets_encrypt":
            for name in certificate.body["dns_names"]:
                domains.point(store, name, balancer.body["ip"])


async def _obtain(cloud: Cloud, certificate_id: str) -> None:
    await asyncio.sleep(cloud.faults.delay("certificate"))
    pair: Pair | None = None
    try:
        async with cloud.lock("acme"):
            pair = await cloud.run(
                cloud.realiser.obtain_certificate, cloud.find("certificate", certificate_id).body["dns_names"]
            )
    except errors.ApiError as error:
        logger.error("certificate %s could not be had: %s", certificate_id, error.message)  # noqa: TRY400 - traced already
    if (certificate := cloud.store.get("certificate", certificate_id)) is None:
        return  # deleted meanwhile
    if pair is None:
        cloud.store.put("certificate", certificate_id, certificate.body | {"state": "error"})
    else:
        said = _said(pair) | {"dns_names": certificate.body["dns_names"]}
        cloud.store.put("certificate", certificate_id, certificate.body | said, _kept(pair))


async def _renew_in_time(cloud: Cloud) -> None:
    while True:
        soon = (dt.datetime.now(dt.UTC) + _RENEW_BEFORE).strftime("%Y-%m-%dT%H:%M:%SZ")
        for certificate in cloud.store.list("certificate"):
            body = certificate.body
            if (body["type"], body["state"]) == ("lets_encrypt", "verified") and body["not_after"] < soon:
                try:
                    await renew(cloud, certificate.id)
                except errors.ApiError as error:
                    logger.error("certificate %s could not be renewed: %s", certificate.id, error.message)  # noqa: TRY400 - traced already
        await asyncio.sleep(_LOOK_EVERY)


def _put(store: Store, name: str, kind: str, pair: Pair | None, names: list[str] | None = None) -> Resource:
    certificate_id = store.next_uuid("certificate")
    body: Body = {
        "id": certificate_id,
        "name": name,
        "not_after": "",
        "sha1_fingerprint": "",
        "created_at": now(),
        "dns_names": [],
        "state": "pending",
        "type": kind,
    }
    body |= (_said(pair) if pair else {}) | ({"dns_names": names} if names else {})
    return store.put("certificate", certificate_id, body, _kept(pair) if pair else {})


def _said(pair: Pair) -> Body:
    return {
        "not_after": pair.not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "sha1_fingerprint": pair.sha1,
        "dns_names": pair.names,
        "state": "verified",
    }


def _kept(pair: Pair) -> Body:
    return {"chain": pair.chain, "key": pair.key}


def _used(balancer: Resource) -> set[str]:
    return {rule["certificate_id"] for rule in balancer.body["forwarding_rules"]}


def _uploaded(fields: _Create) -> Pair:
    for name in ("private_key", "leaf_certificate"):
        if not getattr(fields, name):
            raise errors.unprocessable(f"{name}: required for certificates of the type custom")
    try:
        pair = read(fields.leaf_certificate or "", fields.private_key or "", fields.certificate_chain or "")
    except PemError as error:
        raise errors.unprocessable(str(error)) from error
    if pair.not_after < dt.datetime.now(dt.UTC):
        raise errors.unprocessable(f"leaf_certificate: must be valid, but it ended on {pair.not_after:%Y-%m-%d}")
    return pair


def _names(store: Store, names: list[str]) -> list[str]:
    if not names:
        raise errors.unprocessable("dns_names: required for certificates of the type lets_encrypt")
    unique = list(dict.fromkeys(name.lower() for name in names))
    for name in unique:
        if domains.zone_of(store, name.removeprefix("*.")) is None:
            raise errors.unprocessable(
                f'dns_names: one or more domains are not managed by DigitalOcean in this account, got "{name}"'
            )
    return unique
