"""The end of a load balancer, before the firewall that lets it in to the Droplets: visitors keep connections to it."""

import os
from time import monotonic
from typing import TYPE_CHECKING, Any

from provider.actions import ActionError, CreateResult, FixedProvider, Interrupted, pause, report, warn

if TYPE_CHECKING:
    from provider.api import Api

API_SECONDS = 30.0  # that the API has for each answer
END_SECONDS = 60.0  # until the API has no such balancer any more
POLL_SECONDS = 0.5


class BalancerEndProvider(FixedProvider):
    """Delete the balancer by the API when this goes; that the engine deletes it later finds nothing, and is fine.

    The firewall names the balancer, so the engine deletes it first; what came by kept connections would hang until the
    balancer is gone. Without a token, or an answer, it goes as the engine would have it.
    """

    resource = "balancer_end"
    inputs = ("balancer_id",)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Refuse a balancer that has ended: the update that was to delete it did not come to its end."""
        # A token of the stack's settings may be another account's than the environment's: nothing is found there.
        if not props.get("elsewhere") and _has_ended(props):
            raise ActionError(
                f"load balancer {props['balancer_id']}: is in the stack's state, and not in the account; run "
                "`pulumi refresh`, then `pulumi up`"
            )
        return CreateResult(props["balancer_id"], {name: props[name] for name in self.inputs})

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        """Delete the balancer, and return when it is gone."""
        try:
            if api := _api():
                report("ends the connections that visitors keep to the load balancer")
                api.delete(_path(props))
                _wait(api, props)
        except Interrupted:
            raise  # the engine keeps it, and the next update waits before it deletes the firewall
        except ActionError as error:
            warn(
                f"load balancer {props['balancer_id']} could not be deleted before its firewall: {error}; visitors who "
                "keep connections to it wait until it is gone"
            )


def _api() -> "Api | None":
    """Return the API that DigitalOcean's provider asks; None where only the stack's settings have its token."""
    from provider import api  # each preview starts this plugin, and needs no client

    token = api.token(os.environ)
    return api.Api(token, api.endpoint(os.environ), API_SECONDS) if token else None


def _has_ended(props: dict[str, Any]) -> bool:
    """Tell whether the API answers that there is no such balancer."""
    from provider.api import UnreadableError

    try:
        api = _api()
        return api is not None and api.get(_path(props)) is None
    except UnreadableError:
        return False


def _path(props: dict[str, Any]) -> str:
    return f"load_balancers/{props['balancer_id']}"


def _wait(api: "Api", props: dict[str, Any]) -> None:
    began = monotonic()
    while api.get(_path(props)) is not None:
        if monotonic() - began > END_SECONDS:
            raise ActionError(f"it is still there after {END_SECONDS:.0f} s")
        pause(POLL_SECONDS)
