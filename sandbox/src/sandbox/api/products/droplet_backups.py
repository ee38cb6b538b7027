"""When a Droplet would be backed up; the sandbox keeps the policy and takes no backup."""

from datetime import UTC, datetime, timedelta
from typing import Literal

from starlette.responses import Response

from sandbox.api.calls import Call, Fields, Router, answer
from sandbox.model.store import Body, Resource

router = Router("Droplet")

_HOURS = (0, 4, 8, 12, 16, 20)
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_WINDOW_HOURS = 4
_RETENTION_DAYS = {"weekly": 28, "daily": 7}
_DAYS_BETWEEN = {"weekly": 7, "daily": 1}


class Policy(Fields):
    """When backups are taken."""

    plan: Literal["daily", "weekly"] | None = None
    weekday: Literal["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] | Literal[""] | None = None  # noqa: PYI030
    hour: Literal[0, 4, 8, 12, 16, 20] | None = None


def checked(policy: Policy | None) -> Body:
    """Return what is kept of a policy; without one backups are daily."""
    plan = (policy and policy.plan) or "daily"
    weekday = {"weekday": (policy and policy.weekday) or _DAYS[0]} if plan == "weekly" else {}
    return {
        "plan": plan,
        **weekday,
        "hour": (policy and policy.hour) or 0,
        "window_length_hours": _WINDOW_HOURS,
        "retention_period_days": _RETENTION_DAYS[plan],
    }


def window(policy: Body | None) -> Body | None:
    """Return when the next backup would be taken."""
    if policy is None:
        return None
    moment = datetime.now(UTC)
    start = moment.replace(hour=policy["hour"], minute=0, second=0, microsecond=0)
    if "weekday" in policy:
        start += timedelta(days=(_DAYS.index(policy["weekday"]) - start.isoweekday()) % 7)
    if start < moment:
        start += timedelta(days=_DAYS_BETWEEN[policy["plan"]])
    end = start + timedelta(hours=_WINDOW_HOURS)
    return {"start": f"{start:%Y-%m-%dT%H:%M:%SZ}", "end": f"{end:%Y-%m-%dT%H:%M:%SZ}"}


@router.add("GET", "/droplets/{id}/backups/policy", "droplets_get_backup_policy")
async def get(call: Call) -> Response:
    """Say when a Droplet would be backed up."""
    return answer({"policy": _record(call.cloud.find("droplet", call.path("id")))})


@router.add("GET", "/droplets/backups/policies", "droplets_list_backup_policies")
async def list_all(call: Call) -> Response:
    """Say it of all Droplets, by their ids."""
    found = call.store.list("droplet")
    return answer(
        {"policies": {d.id: _record(d) for d in found}, "links": {}, "meta": {"total": len(found)}},
    )


@router.add("GET", "/droplets/backups/supported_policies", "droplets_list_supported_backup_policies")
async def list_supported(_call: Call) -> Response:
    """List what policies there are."""
    return answer(
        {
            "supported_policies": [
                {
                    "name": name,
                    "possible_window_starts": list(_HOURS),
                    "window_length_hours": _WINDOW_HOURS,
                    "retention_period_days": days,
                    "possible_days": list(_DAYS) if name == "weekly" else [],
                }
                for name, days in _RETENTION_DAYS.items()
            ]
        }
    )


def _record(droplet: Resource) -> Body:
    policy = droplet.private.get("backup_policy")
    body: Body = {"droplet_id": int(droplet.id), "backup_enabled": policy is not None}
    return body | ({"backup_policy": policy, "next_backup_window": window(policy)} if policy else {})
