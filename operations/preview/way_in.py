"""What changes of the Droplets, and of what visitors come to them by, mean."""

from collections.abc import Iterator

from operations.preview.effect import Effect, Level, because, renamed, site
from operations.preview.events import Change, Preview


def droplet(change: Change, preview: Preview) -> Iterator[Effect]:
    """Say what becomes of a Droplet's visitors."""
    if change.verb == "replaced":
        yield _replaced(change, preview)
    elif change.verb == "updated" and "size" in change.reasons:
        yield Effect(
            Level.OUTAGE,
            f"`{change.name}` is switched off, resized and switched on: the site is down for at least half a minute. "
            "To avoid that, change `web.workers` with it, which replaces the Droplet",
        )
    elif change.verb == "deleted":
        yield Effect(
            Level.NOTE, f"`{change.name}` is deleted once it has served its visitors; the others take new ones"
        )


def _replaced(change: Change, preview: Preview) -> Effect:
    others = _in_the_way(preview)
    if change.deleted_first:
        text = f"`{change.name}` is deleted before its successor is there: the site is down meanwhile"
        return Effect(Level.OUTAGE, text)
    if others:
        text = f"`{change.name}` is replaced, and the site is down meanwhile, because {others}"
        return Effect(Level.OUTAGE, text)
    if any(one.kind == "LoadBalancer" for one in preview.has.values()):
        how = "gets visitors once it serves the release, and the old one goes once it has served those that it has"
    else:
        how = (
            "serves the release, with the certificate that the Space `state` keeps, before the address moves to it; "
            "connections that are open then end"
        )
    text = f"`{change.name}` is replaced without downtime: the new Droplet {how}. Because of: {because(change)}"
    return Effect(Level.NOTE, text)


def _in_the_way(preview: Preview) -> str:
    """Why a new Droplet can't take over from the old one without a gap."""
    # The Space "state" keeps the certificate for the next Droplet.
    needed = [*preview.of("DatabaseCluster")]
    needed += [change for change in preview.of("SpacesBucket") if change.name.endswith("-state")]
    needed += [] if _moves(preview) else preview.of("ReservedIp", "LoadBalancer")
    gone = [f"`{change.name}` is {change.verb}" for change in needed if change.verb in {"replaced", "deleted"}]
    # A certificate is for one name.
    gone += [f"the site gets the name {site(change.new)}" for change in preview.of("Probe") if renamed(change)]
    return " and ".join(gone)


def _moves(preview: Preview) -> bool:
    """Whether visitors will come by the other way, which is made before the old one goes."""
    ways = {change.kind: change.verb for change in preview.of("ReservedIp", "LoadBalancer")}
    return sorted(ways.values()) == ["created", "deleted"]


def address(change: Change, preview: Preview) -> Iterator[Effect]:
    """Say what becomes of the site's address."""
    if change.verb not in {"replaced", "deleted"}:
        return
    if not _moves(preview):
        yield Effect(
            Level.OUTAGE,
            f"the site's address is {change.verb}: visitors find the new one when their DNS caches let go, with "
            f"managed DNS after up to 5 minutes. Because of: {because(change)}",
        )
        return
    external = any(probe.new.get("dns") == "external" for probe in preview.of("Probe"))
    moved = "you have changed its record" if external else "it leads there"
    yield Effect(
        Level.NOTE,
        f"the site moves to another address without downtime: `{change.name}` serves until the new one does, {moved}, "
        "and the record of before has run out everywhere (docs/load-balancer.md)",
    )


def member(change: Change, preview: Preview) -> Iterator[Effect]:
    """Say how a Droplet goes that is not replaced."""
    droplets = {one.name.rpartition("-")[2] for one in preview.of("Droplet") if one.verb == "deleted"}
    if change.verb == "deleted" and change.name.rpartition("-")[2] not in droplets and not _moves(preview):
        yield Effect(Level.CARE, f"`{change.name}` is deleted, and its Droplet is not: it gets no visitors any more")
