"""Actions: what was begun on a Droplet or a Reserved IP, and how it ended."""

from typing import Literal

from starlette.responses import Response

from sandbox.api.calls import Call, Router, answer
from sandbox.model import plans
from sandbox.model.store import Resource, Store, now

router = Router("Action")


@router.add("GET", "/actions", "actions_list")
async def list_all(call: Call) -> Response:
    """List actions of the account, newest first."""
    return call.listing("actions", (action.body for action in reversed(call.store.list("action"))))


@router.add("GET", "/actions/{id}", "actions_get")
async def get(call: Call) -> Response:
    """Describe an action."""
    return answer({"action": call.cloud.find("action", call.path("id")).body})


def begin(store: Store, type_: str, resource_type: str, resource_id: int | None, region: str) -> Resource:
    """Record an action that has begun."""
    action_id = store.next_id("action")
    body = {
        "id": action_id,
        "status": "in-progress",
        "type": type_,
        "started_at": now(),
        "completed_at": None,
        "resource_id": resource_id,
        "resource_type": resource_type,
        "region": plans.region_body(region),
        "region_slug": region,
    }
    return store.put("action", action_id, body)


def finish(store: Store, action_id: str, status: Literal["completed", "errored"] = "completed") -> None:
    """Record how an action ended."""
    action = store.get("action", action_id)
    if action is not None:
        store.put("action", action_id, action.body | {"status": status, "completed_at": now()})


def of(store: Store, resource_type: str, resource_id: str) -> list[Resource]:
    """Return the actions of one resource, newest first."""
    return [
        action
        for action in reversed(store.list("action"))
        if (action.body["resource_type"], str(action.body["resource_id"])) == (resource_type, resource_id)
    ]


def pending(store: Store, resource_type: str, resource_id: str) -> bool:
    """Say whether an action on this resource is going on."""
    return any(action.body["status"] == "in-progress" for action in of(store, resource_type, resource_id))


def unfinished(store: Store, resource_type: str) -> list[Resource]:
    """Return the actions that a stopped API left half done."""
    return [
        action
        for action in store.list("action")
        if action.body["status"] == "in-progress" and action.body["resource_type"] == resource_type
    ]


def href(action: Resource) -> str:
    """Return an action's address."""
    return f"https://api.digitalocean.com/v2/actions/{action.id}"
