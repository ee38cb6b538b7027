"""A Droplet behind the load balancer: before it is deleted, it is taken out, and serves the visitors that it has."""

import threading
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from protocol.node import NodeReport, node_key
from protocol.release import DESIRED, Desired
from provider.actions import (
    ActionError,
    CreateResult,
    FixedProvider,
    Interrupted,
    ReadResult,
    pause,
    report,
    warn,
)
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

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Find out whether it has left: no visitor comes to it until the next update lets it stay, or deletes it."""
        spaces = self.spaces(props["region"])
        has_left = props["droplet_id"] in _leaving(spaces, props) and _phase(spaces, props) == "left"
        return ReadResult(None, {}) if has_left else ReadResult(id_, props)

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        """Take the Droplet out, and return when it has served its visitors."""
        droplet = props["droplet_id"]
        try:
            spaces = self.spaces(props["region"])
            if not _change(spaces, props, leaves=True):
                return  # there is no release any more: everything is being deleted
            if problem := _left(spaces, props):
                warn(f"Droplet {droplet}: {problem}; it is deleted all the same")
        except Interrupted:
            raise  # the engine keeps it, and the next update waits before it deletes the Droplet
        except ActionError as error:
            warn(f"Droplet {droplet} could not be taken out of the load balancer before it is deleted: {error}")


def _change(spaces: "Spaces", props: dict[str, Any], *, leaves: bool) -> bool:
    """Write down whether a Droplet leaves; False when nothing is desired of anybody."""
    bucket, droplet = props["releases_bucket"], props["droplet_id"]
    with _writing:
        desired = _desired(spaces, bucket)
        if desired is None:
            return False
        if (droplet in desired.leaving) != leaves:
            others = [one for one in desired.leaving if one != droplet]
            leaving = (*others, droplet) if leaves else (*others,)
            spaces.put_json(bucket, DESIRED, replace(desired, leaving=leaving).document())
    return True


def _desired(spaces: "Spaces", bucket: str) -> Desired | None:
    document = spaces.get_json(bucket, DESIRED)
    return None if document is None else Desired.parse(document, f"{bucket}/{DESIRED}")


def _leaving(spaces: "Spaces", props: dict[str, Any]) -> tuple[str, ...]:
    """Return who is to leave."""
    desired = _desired(spaces, props["releases_bucket"])
    return desired.leaving if desired else ()


def _phase(spaces: "Spaces", props: dict[str, Any]) -> str:
    """Return what the Droplet says that it does."""
    state = NodeReport.parse(spaces.get_json(props["state_bucket"], node_key(props["droplet_id"])))
    return state.phase if state else ""


def _left(spaces: "Spaces", props: dict[str, Any]) -> str | None:
    """Wait until a Droplet has left; return why it has not."""
    began = monotonic()
    phase = ""
    while (waited := monotonic() - began) < (LEAVE_SECONDS if phase == "leaving" else BEGIN_SECONDS):
        phase = _phase(spaces, props)
        if phase == "left":
            return None
        report("the load balancer sends it no more visitors" if phase == "leaving" else "is told to leave")
        pause(POLL_SECONDS)
    return f"has not served its last visitors within {waited:.0f} s" if phase == "leaving" else "does not answer"
