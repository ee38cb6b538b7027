"""Alert policies; the sandbox keeps them, but measures nothing and tells nobody."""

from typing import Literal

from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from sandbox.api import errors
from sandbox.api.calls import Call, Fields, Router, answer, nothing
from sandbox.model.store import Body

router = Router("Monitoring")

# Of the OpenAPI description, those of Droplets: the sandbox has no load balancer and no autoscale pool to speak of.
_TYPES = frozenset(
    f"v1/insights/droplet/{metric}"
    for metric in (
        *("load_1", "load_5", "load_15", "memory_utilization_percent", "disk_utilization_percent", "cpu"),
        *("disk_read", "disk_write", "public_outbound_bandwidth", "public_inbound_bandwidth"),
        *("private_outbound_bandwidth", "private_inbound_bandwidth"),
    )
)


class _Slack(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    channel: str
    url: str


class _Alerts(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    # Null, as Go's clients send an empty list, is one, and so is absence.
    email: list[str] | None = None
    slack: list[_Slack] | None = None


class _Policy(Fields):
    alerts: _Alerts
    compare: Literal["GreaterThan", "LessThan"]
    description: str
    enabled: bool
    entities: list[str] | None = None
    tags: list[str] | None = None
    type: str
    value: float
    window: Literal["5m", "10m", "30m", "1h"]

    def body(self, uuid: str) -> Body:
        """Answer as the API does."""
        if self.type not in _TYPES:
            raise errors.unprocessable(f'type: must be one of {", ".join(sorted(_TYPES))}, got "{self.type}"')
        if not (self.alerts.email or self.alerts.slack):
            raise errors.unprocessable("alerts: must name an e-mail address or a Slack channel, got neither")
        body = self.model_dump()
        body["alerts"] = {name: value or [] for name, value in body["alerts"].items()}
        return {"uuid": uuid} | body | {"entities": self.entities or [], "tags": self.tags or []}


@router.add("POST", "/monitoring/alerts", "monitoring_create_alertPolicy")
async def create(call: Call) -> Response:
    """Create an alert policy."""
    uuid = call.store.next_uuid("alert_policy")
    body = call.fields(_Policy).body(uuid)
    call.store.put("alert_policy", uuid, body)
    return answer({"policy": body})


@router.add("GET", "/monitoring/alerts", "monitoring_list_alertPolicy")
async def list_all(call: Call) -> Response:
    """List alert policies."""
    return call.listing("policies", (policy.body for policy in call.store.list("alert_policy")))


@router.add("GET", "/monitoring/alerts/{id}", "monitoring_get_alertPolicy")
async def get(call: Call) -> Response:
    """Describe an alert policy."""
    return answer({"policy": call.cloud.find("alert_policy", call.path("id")).body})


@router.add("PUT", "/monitoring/alerts/{id}", "monitoring_update_alertPolicy")
async def update(call: Call) -> Response:
    """Replace an alert policy, in place."""
    policy = call.cloud.find("alert_policy", call.path("id"))
    body = call.fields(_Policy).body(policy.id)
    call.store.put("alert_policy", policy.id, body)
    return answer({"policy": body})


@router.add("DELETE", "/monitoring/alerts/{id}", "monitoring_delete_alertPolicy")
async def delete(call: Call) -> Response:
    """Delete an alert policy."""
    policy = call.cloud.find("alert_policy", call.path("id"))
    call.store.delete("alert_policy", policy.id)
    return nothing()
