"""DnsRecord: one record of a domain."""

from digitalocean_provider.errors import ProviderError
from digitalocean_provider.operation import Operation
from digitalocean_provider.schema import COMPUTED, OPTIONAL_COMPUTED, REQUIRED, Field, Schema
from plugin_base.wire import Properties


def same_host(old: object, new: object, inputs: Properties) -> bool:
    """Tell whether the API, which shortens the domain's own name, means what the program says."""
    zone = f"{inputs['domain']}."
    return (old == "@" and new == zone) or old == f"{new}.{zone}"


SCHEMA = Schema(
    type_name="digitalocean:index/dnsRecord:DnsRecord",
    label="record",
    fields={
        "name": Field(auto_name=True),
        "type": Field(
            role=REQUIRED, replaces=True, choices=("A", "AAAA", "CAA", "CNAME", "MX", "NS", "TXT", "SRV", "SOA")
        ),
        "domain": Field(role=REQUIRED, replaces=True),
        "value": Field(role=REQUIRED, same=same_host),
        "flags": Field(),
        "port": Field(),
        "priority": Field(),
        "tag": Field(),
        "ttl": Field(role=OPTIONAL_COMPUTED),
        "weight": Field(),
        "fqdn": Field(role=COMPUTED),
    },
)

HOST_TYPES = ("CNAME", "MX", "NS", "SRV", "CAA")  # the API leaves out the dot at the end of their values


def fqdn(name: str, domain: str) -> str:
    """Return the full name of a record."""
    if name == "@":
        return domain
    lowered = name.lower()
    return lowered.removesuffix(".") if lowered.endswith(f"{domain}.") else f"{name}.{domain}"


def locate(imported: str) -> tuple[str, Properties]:
    """Turn the id given to `pulumi import` into the resource's own id and what reading needs."""
    domain, _, record = imported.partition(",")
    if not record.isdigit():
        raise ProviderError(f"record to import: must be the domain and the record, `domain,id`, got {imported!r}")
    return record, {"domain": domain}


def _body(inputs: Properties) -> Properties:
    body: Properties = {
        "name": inputs["name"],
        "data": inputs["value"],
        # godo sends these four also when they are zero
        "priority": inputs.get("priority", 0),
        "port": inputs.get("port", 0),
        "weight": inputs.get("weight", 0),
        "flags": inputs.get("flags", 0),
    }
    return body | {name: inputs[name] for name in ("ttl", "tag") if inputs.get(name)}


def create(op: Operation, inputs: Properties) -> Properties:
    """Create the record."""
    body = _body(inputs) | {"type": inputs["type"]}
    op.keep(str(op.call("POST", "domains", inputs["domain"], "records", body=body)["domain_record"]["id"]))
    return read(op, op.id, {"domain": inputs["domain"]}) or {}


def read(op: Operation, id_: str, state: Properties) -> Properties | None:
    """Return the record, or None when it is gone."""
    reply = op.find("GET", "domains", state["domain"], "records", id_)
    if reply is None:
        return None
    record = reply["domain_record"]
    value = record["data"]
    if record["type"] in HOST_TYPES and value != "@" and record.get("tag") != "iodef":
        value += "."
    return {
        "name": record["name"],
        "type": record["type"],
        "domain": state["domain"],
        "value": value,
        # What its type does not use is null in the API's answer, and zero in the official plugin's state.
        "flags": record.get("flags") or 0,
        "port": record.get("port") or 0,
        "priority": record.get("priority") or 0,
        "tag": record.get("tag") or "",
        "ttl": record["ttl"],
        "weight": record.get("weight") or 0,
        "fqdn": fqdn(record["name"], state["domain"]),
    }


def update(op: Operation, id_: str, state: Properties, inputs: Properties, _changed: set[str]) -> None:
    """Change the record."""
    op.call("PUT", "domains", state["domain"], "records", id_, body=_body(inputs))


def delete(op: Operation, id_: str, state: Properties) -> None:
    """Remove the record."""
    op.find("DELETE", "domains", state["domain"], "records", id_)
