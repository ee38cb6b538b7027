"""A Droplet behind the load balancer: before it is deleted, it is taken out, and serves the visitors that it has."""

import threading
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from protocol.node import NodeReport, node_key
from protocol.release import DESIRED, Desired
from provider.actions import ActionError, CreateResult, FixedProvider, pause, report, warn
from provider.uploads.spaces_provider import SpacesProvider

if TYPE_CHECKING:
    from provider.uploads.spaces_client import Spaces

# What a Droplet needs to see that it is to leave, to be noticed by the balancer, and to serve the last requests. One
# that does not answer is dead, or as good as that: nobody is lost with it.
LEAVE_SECONDS = 75.0
BEGIN_SECONDS = 15.0
POLL_SECONDS = 0.5

_writing = threading.Lock()  # desired.json: the engine deletes several at once


class MemberProvider(FixedProvider, SpacesProvider):
    """Write down who leaves, and wait for it; a Droplet that is deleted all the same is no error."""

    resource = "member"
    inputs = ("droplet_id", "releases_bucket", "state_bucket", "region")

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Let the Droplet stay, should it have been about to leave."""
        _change(self.spaces(props["region"]), props, leaves=False)
        return CreateResult(str(props["droplet_id"]), {name: props[name] for name in self.inputs})

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        """Take the Droplet out, and return when it has served its visitors."""
        droplet = props["droplet_id"]
        try:
            spaces = self.spaces(props["region"])
            if not _change(spaces, props, leaves=True):
                return  # there is no release any more: everything is being deleted
            if problem := _left(spaces, props):
                warn(f"Droplet {droplet}: {problem}; it is deleted all the same")
        except ActionError as error:
            warn(f"Droplet {droplet} could not be taken out of the load balancer before it is deleted: {error}")


def _change(spaces: "Spaces", props: dict[str, Any], *, leaves: bool) -> bool:
    """Write down whether a Droplet leaves; False when nothing is desired of anybody."""
    bucket, droplet = props["releases_bucket"], props["droplet_id"]
    with _writing:
        document = spaces.get_json(bucket, DESIRED)
        if document is None:
            return False
        desired = Desired.parse(document, f"{bucket}/{DESIRED}")
        if (droplet in desired.leaving) != leaves:
            others = [one for one in desired.leaving if one != droplet]
            leaving = (*others, droplet) if leaves else (*others,)
            spaces.put_json(bucket, DESIRED, replace(desired, leaving=leaving).document())
    return True


def _left(spaces: "Spaces", props: dict[str, Any]) -> str | None:
    """Wait until a Droplet has left; return why it has not."""
    began = monotonic()
    phase = ""
    while (waited := monotonic() - began) < (LEAVE_SECONDS if phase == "leaving" else BEGIN_SECONDS):
        state = NodeReport.parse(spaces.get_json(props["state_bucket"], node_key(props["droplet_id"])))
        phase = state.phase if state else ""
        if phase == "left":
            return None
        report("the load balancer sends it no more visitors" if phase == "leaving" else "is told to leave")
        pause(POLL_SECONDS)
    return f"has not served its last visitors within {waited:.0f} s" if phase == "leaving" else "does not answer"
