"""Certificate: of TLS, uploaded or from Let's Encrypt. Its id is its name: a renewed one has another id at the API."""

from typing import Any

from digitalocean_provider import sets
from digitalocean_provider.errors import ApiError, ProviderError
from digitalocean_provider.operation import Operation
from digitalocean_provider.resources.droplet import sha1
from digitalocean_provider.schema import COMPUTED, Field, Schema, unordered
from plugin_base.wire import Properties

# In what the API says of a certificate that a load balancer still has; the official plugin waits for its end.
_IN_USE = ("make sure the certificate is not in use before deleting it", "being used by one or more load balancers")
_FORBIDDEN = 403
_FIRST_WAIT, _LONGEST_WAIT = 2.0, 30.0  # seconds


def of_uploaded(_old: object, _new: object, inputs: Properties) -> bool:
    """Names of an uploaded certificate are in it: the API says them, and no program."""
    return inputs.get("type") != "lets_encrypt"


SCHEMA = Schema(
    type_name="digitalocean:index/certificate:Certificate",
    label="certificate",
    fields={
        "name": Field(auto_name=True, replaces=True),
        "type": Field(default="custom", replaces=True, choices=("custom", "lets_encrypt")),
        "domains": Field(replaces=True, normalise=unordered, same=of_uploaded),
        "privateKey": Field(replaces=True, unread=True, stored=sha1, secret=True),
        "leafCertificate": Field(replaces=True, unread=True, stored=sha1),
        "certificateChain": Field(replaces=True, unread=True, stored=sha1),
        "notAfter": Field(role=COMPUTED),
        "sha1Fingerprint": Field(role=COMPUTED),
        "state": Field(role=COMPUTED),
        "uuid": Field(role=COMPUTED),
    },
    default_timeouts={"create": 600, "delete": 900},
)


def by_name(op: Operation, name: str) -> Properties | None:
    """Return the certificate of a name as the API has it, or None."""
    found = op.call("GET", "certificates", query={"name": name})["certificates"]
    return found[0] if found else None


def create(op: Operation, inputs: Properties) -> Properties:
    """Upload it, or let it be issued and wait for that."""
    required = ("domains",) if inputs["type"] == "lets_encrypt" else ("privateKey", "leafCertificate")
    for name in required:
        if not inputs.get(name):
            raise ProviderError(f"{name}: is required when type is {inputs['type']}, got nothing; set it")
    sent = {"privateKey": "private_key", "leafCertificate": "leaf_certificate", "certificateChain": "certificate_chain"}
    body: dict[str, Any] = {"name": inputs["name"], "type": inputs["type"]}
    body |= {api: inputs[ours] for ours, api in sent.items() if inputs.get(ours)}
    if inputs.get("domains"):
        body["dns_names"] = sets.members(inputs["domains"])
    certificate = op.call("POST", "certificates", body=body)["certificate"]
    op.keep(certificate["name"], {"uuid": certificate["id"]})
    _wait_until_verified(op, certificate["name"], certificate["id"])
    return read(op, op.id, {}) or {}


def _wait_until_verified(op: Operation, name: str, uuid: str) -> None:
    def probe() -> tuple[str, bool | None]:
        state = op.call("GET", "certificates", uuid)["certificate"]["state"]
        if state not in {"pending", "verified"}:
            raise ProviderError(f"unexpected state {state!r} of certificate {name}, wanted 'verified'")
        return f"state={state}", True if state == "verified" else None

    op.wait_for(f"certificate {name}", probe, timeout=SCHEMA.default_timeouts["create"])


def read(op: Operation, id_: str, _state: Properties) -> Properties | None:
    """Return the certificate, or None when it is gone."""
    certificate = by_name(op, id_)
    if certificate is None:
        return None
    return {
        "name": certificate["name"],
        "uuid": certificate["id"],
        "type": certificate["type"],
        "state": certificate["state"],
        "notAfter": certificate["not_after"],
        "sha1Fingerprint": certificate["sha1_fingerprint"],
        "domains": sets.members(name for name in certificate.get("dns_names") or [] if name),
    }


def update(op: Operation, id_: str, state: Properties, _inputs: Properties, _changed: set[str]) -> None:
    """Finish an interrupted creation: nothing of a certificate can change."""
    _wait_until_verified(op, id_, state["uuid"])


def delete(op: Operation, id_: str, _state: Properties) -> None:
    """Delete it, as soon as no load balancer has it any more."""
    certificate = by_name(op, id_)
    if certificate is None:
        return
    wait, waited = _FIRST_WAIT, 0.0
    while True:
        try:
            op.find("DELETE", "certificates", certificate["id"])
        except ApiError as error:
            in_use = error.status == _FORBIDDEN and any(text in error.message.lower() for text in _IN_USE)
            if not in_use or waited >= (op.timeout or SCHEMA.default_timeouts["delete"]):
                raise
        else:
            return
        op.pause(wait)
        wait, waited = min(2 * wait, _LONGEST_WAIT), waited + wait
