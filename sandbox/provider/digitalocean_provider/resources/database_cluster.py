"""DatabaseCluster: managed PostgreSQL."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlsplit

from digitalocean_provider import sets
from digitalocean_provider.operation import Operation
from digitalocean_provider.resources.tag import retag
from digitalocean_provider.schema import COMPUTED, OPTIONAL_COMPUTED, REQUIRED, Failure, Field, Schema, lower, tag_set
from plugin_base.wire import Properties


def without_seconds(windows: list[Properties]) -> list[Properties]:
    """Compare to the minute: the API answers "13:00:00" to "13:00"."""
    return [
        {"day": window.get("day"), "hour": ":".join(str(window.get("hour", "")).split(":")[:2])} for window in windows
    ]


# Of storageAutoscale: its properties, the API's names, and the bounds of the official provider's schema.
_AUTOSCALE = {"thresholdPercent": "threshold_percent", "incrementGib": "increment_gib"}
_BOUNDS = {"thresholdPercent": (15, 95), "incrementGib": (10, None)}


def autoscale_problems(autoscale: Properties) -> Iterable[Failure]:
    """Refuse what the official provider refuses; the API's own bounds are narrower."""
    if autoscale.get("enabled") is None:
        yield Failure("storageAutoscale.enabled", "is required, got nothing; set it")
    for name, (least, most) in _BOUNDS.items():
        value = autoscale.get(name)
        if value is not None and (value < least or (most is not None and value > most)):
            bounds = f"at least {least}" if most is None else f"from {least} to {most}"
            yield Failure(f"storageAutoscale.{name}", f"must be {bounds}, got {value}")


def autoscale_said(autoscale: Properties) -> Properties:
    """Compare what is said: a number that is 0 is as absent, but `enabled: false` is something."""
    return {"enabled": str(autoscale.get("enabled"))} | {
        name: autoscale[name] for name in _AUTOSCALE if autoscale.get(name)
    }


SCHEMA = Schema(
    type_name="digitalocean:index/databaseCluster:DatabaseCluster",
    label="database cluster",
    fields={
        "name": Field(auto_name=True, replaces=True),
        "engine": Field(role=REQUIRED, replaces=True),
        "version": Field(role=REQUIRED),  # optional in the SDK, but the official plugin refuses to do without
        "size": Field(role=REQUIRED),
        "region": Field(role=REQUIRED, normalise=lower),
        "nodeCount": Field(role=REQUIRED),
        "maintenanceWindows": Field(normalise=without_seconds, members=("day", "hour")),
        "privateNetworkUuid": Field(role=OPTIONAL_COMPUTED, replaces=True),
        "projectId": Field(role=OPTIONAL_COMPUTED, replaces=True),
        # Computed where the program is silent: a disk that has grown by itself is not drift then.
        "storageSizeMib": Field(role=OPTIONAL_COMPUTED),
        "storageAutoscale": Field(normalise=autoscale_said, members=("enabled", *_AUTOSCALE), rule=autoscale_problems),
        "tags": Field(normalise=tag_set),
        "clusterUrn": Field(role=COMPUTED),
        "database": Field(role=COMPUTED),
        "host": Field(role=COMPUTED),
        "metricsEndpoints": Field(role=COMPUTED),
        "password": Field(role=COMPUTED, secret=True),
        "port": Field(role=COMPUTED),
        "privateHost": Field(role=COMPUTED),
        "privateUri": Field(role=COMPUTED, secret=True),
        "uri": Field(role=COMPUTED, secret=True),
        "user": Field(role=COMPUTED),
    },
    default_timeouts={"create": 1800, "update": 1800},
)


def uri(connection: Properties, password: str) -> str:
    """Put user and password into the API's URI, which may come without a password."""
    parts = urlsplit(connection["uri"])
    safe = "$&+,;="  # what Go's url.UserPassword leaves alone
    user = f"{quote(connection.get('user') or '', safe=safe)}:{quote(password, safe=safe)}"
    return parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}").geturl()


def connections(resource: Properties, known: str) -> Properties:
    """Return how to reach a cluster or a pool; `known` is the password from before, for answers without one."""
    public, private = resource.get("connection"), resource.get("private_connection")
    found: Properties = {}
    if public:
        password = public.get("password") or known
        found = {
            "host": public["host"],
            "port": public["port"],
            "user": public.get("user"),
            "password": password or None,
            "uri": uri(public, password),
        }
    if private:
        password = (public or private).get("password") or known
        found |= {"privateHost": private["host"], "privateUri": uri(private, password)}
    return found


def _properties(cluster: Properties, state: Properties) -> Properties:
    public = cluster.get("connection") or {}
    return connections(cluster, state.get("password", "")) | {
        "name": cluster["name"],
        "engine": cluster["engine"],
        "version": cluster["version"],
        "size": cluster["size"],
        "region": cluster["region"],
        "nodeCount": cluster["num_nodes"],
        # Only when it was asked for: every cluster has a window, also one that the API chose.
        "maintenanceWindows": _windows(cluster) if state.get("maintenanceWindows") else None,
        "privateNetworkUuid": cluster.get("private_network_uuid"),
        "projectId": cluster.get("project_id"),
        "storageSizeMib": str(cluster["storage_size_mib"]) if cluster.get("storage_size_mib") else None,
        "tags": cluster.get("tags") or [],
        "clusterUrn": f"do:dbaas:{cluster['id']}",
        "database": public.get("database"),
        "metricsEndpoints": [
            f"https://{endpoint['host']}:{endpoint['port']}/metrics"
            for endpoint in cluster.get("metrics_endpoints") or []
        ],
    }


def _windows(cluster: Properties) -> list[Properties] | None:
    window = cluster.get("maintenance_window")
    return [{"day": window["day"], "hour": window["hour"]}] if window else None


def _wait_until_online(op: Operation, id_: str) -> Properties:
    def probe() -> tuple[str, Properties | None]:
        reply = op.find("GET", "databases", id_)
        if reply is None:  # right after creation, as the official plugin tolerates
            return "not found yet", None
        cluster: Properties = reply["database"]
        return f"status={cluster['status']}", cluster if cluster["status"] == "online" else None

    return op.wait_for(f"database cluster {id_}", probe, timeout=SCHEMA.default_timeouts["create"])


def _set_window(op: Operation, id_: str, windows: list[Properties]) -> None:
    body = {"day": windows[0]["day"], "hour": windows[0]["hour"]}
    op.call("PUT", "databases", id_, "maintenance", body=body)


def _autoscale_body(autoscale: Properties) -> Properties:
    # The official provider sends 0 for what isn't set.
    return {"enabled": autoscale["enabled"]} | {theirs: autoscale.get(ours) or 0 for ours, theirs in _AUTOSCALE.items()}


def _autoscale(op: Operation, cluster: Properties, state: Properties) -> Properties:
    """Return the property, only when it was asked for, as the official provider reads it."""
    if not state.get("storageAutoscale"):
        return {}
    found = cluster.get("storage_autoscale") or op.call("GET", "databases", cluster["id"], "autoscale").get("storage")
    if not found:
        return {}
    numbers = {ours: found[theirs] for ours, theirs in _AUTOSCALE.items() if found.get(theirs) is not None}
    return {"storageAutoscale": {"enabled": found["enabled"]} | numbers}


def create(op: Operation, inputs: Properties) -> Properties:
    """Create, wait until it is online, set the maintenance window."""
    body: dict[str, Any] = {
        "name": inputs["name"],
        "engine": inputs["engine"],
        "version": inputs["version"],
        "size": inputs["size"],
        "region": inputs["region"].lower(),
        "num_nodes": inputs["nodeCount"],
        # godo sends these three also when they are not set
        "private_network_uuid": inputs.get("privateNetworkUuid", ""),
        "project_id": inputs.get("projectId", ""),
        "rules": None,
    }
    if inputs.get("tags"):
        body["tags"] = sets.tags(inputs["tags"])
    if inputs.get("storageSizeMib"):
        body["storage_size_mib"] = int(inputs["storageSizeMib"])
    if inputs.get("storageAutoscale"):
        body["storage_autoscale"] = _autoscale_body(inputs["storageAutoscale"])  # its name in godo, not in the spec
    cluster = op.call("POST", "databases", body=body)["database"]
    # The answer to the POST may be the only one with the password in it.
    wanted = {name: inputs.get(name) for name in ("maintenanceWindows", "storageAutoscale")}
    op.keep(cluster["id"], _properties(cluster, {}))
    op.known |= {key: value for key, value in _properties(_wait_until_online(op, op.id), op.known).items() if value}
    if inputs.get("maintenanceWindows"):
        _set_window(op, op.id, inputs["maintenanceWindows"])
    return read(op, op.id, op.known | wanted) or {}


def read(op: Operation, id_: str, state: Properties) -> Properties | None:
    """Return the cluster, or None when it is gone."""
    reply = op.find("GET", "databases", id_)
    if reply is None:
        return None
    return _properties(reply["database"], state) | _autoscale(op, reply["database"], state)


def update(op: Operation, id_: str, state: Properties, inputs: Properties, changed: set[str]) -> None:
    """Resize, migrate, upgrade in place; also finishes a creation that was interrupted."""
    if not changed:
        _wait_until_online(op, id_)
        if inputs.get("maintenanceWindows"):
            _set_window(op, id_, inputs["maintenanceWindows"])
    if changed & {"size", "nodeCount", "storageSizeMib"}:
        body = {"size": inputs["size"], "num_nodes": inputs["nodeCount"]}
        if "storageSizeMib" in changed:  # else the plan's own storage applies, and what was added to it stays
            body["storage_size_mib"] = int(inputs["storageSizeMib"])
        op.call("PUT", "databases", id_, "resize", body=body)
        _wait_until_online(op, id_)
    if "region" in changed:
        op.call(
            "PUT", "databases", id_, "migrate", body={"region": inputs["region"].lower(), "private_network_uuid": ""}
        )
        _wait_until_online(op, id_)
    if "maintenanceWindows" in changed and inputs.get("maintenanceWindows"):
        _set_window(op, id_, inputs["maintenanceWindows"])
    if "version" in changed:
        op.call("PUT", "databases", id_, "upgrade", body={"version": inputs["version"]})
    if "tags" in changed:
        retag(op, id_, "database", state.get("tags", []), inputs.get("tags", []))
    if "storageAutoscale" in changed and inputs.get("storageAutoscale"):  # without it the cluster keeps what it has
        body = {"storage": _autoscale_body(inputs["storageAutoscale"])}
        op.call("PUT", "databases", id_, "autoscale", body=body)


def delete(op: Operation, id_: str, _state: Properties) -> None:
    """Delete with everything in it; members of its network linger a while after that."""
    op.find("DELETE", "databases", id_)
