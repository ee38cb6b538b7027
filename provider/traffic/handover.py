"""The time in which visitors still come to an old address, because resolvers remember it: nothing is deleted then."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from protocol.health import mark
from provider.actions import (
    ActionError,
    CheckResult,
    CreateResult,
    DiffResult,
    PartlyMade,
    ResourceProvider,
    UpdateResult,
    checked,
    differing,
    pause,
    report,
    text_problems,
    warn,
)
from provider.traffic.public_site import Site, addresses, ask, ask_at, host_of, trust, trust_for
from provider.traffic.record_ttl import ttl_of

POLL_SECONDS = 1.0
INPUTS = ("url", "address", "before", "dns", "droplet_ids", "old_is_asked_for", "patience")


@dataclass(kw_only=True, slots=True)
class Earlier:
    """An address that the name led to: since when it does not, "" before that was seen; how long it is remembered."""

    address: str
    since: str = ""  # ISO 8601
    ttl: float = 0  # seconds, 0 until it is known


class HandoverProvider(ResourceProvider):
    """Wait until no resolver has an old address any more, as far as the user lets it; then the engine deletes.

    Of an update that does not come to its end the state has `earlier`, and the next one goes on with that, whichever
    address the site is to have by then: it may be an earlier one.
    """

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse what can't be waited for."""
        return checked(news, text_problems(news, "handover", "url", "address"))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Find another address, one that came and went since, or a wait that had no end."""
        changed = differing(olds, news, ["url", "address"]) or _before(olds) != _before(news)
        return DiffResult(changes=bool(changed or "earlier" in olds or "since" in olds))

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Take it as it is: there is no old address."""
        return CreateResult(props["address"], _outputs(props))

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Wait, if the name led to another address than it is to lead to."""
        earlier = _earlier(olds, news)
        if earlier and news["patience"]:
            try:
                if news["dns"] == "external":
                    _require_moved(news, earlier)
                _note(news, earlier)
                _wait(news, earlier)
            except ActionError as error:
                left = {"earlier": [asdict(one) for one in earlier]}
                raise PartlyMade(str(error), id_, _outputs(news) | left) from None
        return UpdateResult(_outputs(news))


def _earlier(olds: dict[str, Any], news: dict[str, Any]) -> list[Earlier]:
    """Return the addresses that resolvers may have, of an update without an end and of the time since the last one."""
    found = [Earlier(**one) for one in olds.get("earlier", ())]
    if "since" in olds:  # as a version before wrote it
        found.append(Earlier(address=olds["old_address"], since=olds["since"], ttl=olds.get("old_ttl") or 0))
    known = [one.address for one in found]
    # An update may have ended between the name's move and here, and its move been taken back.
    came = _before(news)[len(_before(olds)) :]
    found += [Earlier(address=one) for one in dict.fromkeys([olds["address"], *came]) if one not in known]
    return [one for one in found if one.address != news["address"]]


def _before(props: dict[str, Any]) -> list[str]:
    """Return all that the name led to before; a version before did not know it."""
    return props.get("before") or []


def _require_moved(news: dict[str, Any], earlier: Sequence[Earlier]) -> None:
    """Refuse to go on unless a name that others keep was seen to lead to where it is to lead.

    No answer, or an address that is neither, is no proof: resolvers fail, and a proxy's addresses stay the same.
    """
    url, wanted = news["url"], news["address"]
    found = addresses(url)
    if still := [one for one in earlier if one.address in found]:
        ttl = _ttl(news)
        for one in still:
            one.since, one.ttl = "", ttl
        raise ActionError(
            f"{url}: still leads to {_listed(still)}, which serves as before; change its DNS record to {wanted}, then "
            f"run `pulumi up` again, which waits until the record of now has run out, {ttl:.0f} s"
        )
    if wanted not in found and (why := _why_not_here(news, earlier)):
        raise ActionError(
            f"{url}: whether visitors still come by {_listed(earlier)} is not known: it leads to "
            f"{', '.join(sorted(found)) or 'no address that this machine finds'}, not to {wanted}, and {why}. Change "
            f"its DNS record, or what a proxy before it asks, to {wanted}, then run `pulumi up` again; all of these "
            "addresses serve meanwhile. If that is done, and can't be seen from here, set dnsPatience to 0 for one "
            'update (docs/load-balancer.md, "Moving")'
        )


def _why_not_here(news: dict[str, Any], earlier: Sequence[Earlier]) -> str:
    """Return why the name's answers don't prove that it leads here, by whatever way; "" when they do."""
    site = Site(url=news["url"], release="")
    own = {mark(str(droplet)) for droplet in news["droplet_ids"]}
    answer = ask(site, trust())
    if answer.problem:
        return answer.problem
    if answer.served_by not in own:
        return "none of the stack's new Droplets answers there"
    trusted = trust_for(site.host)
    shared = [one for one in earlier if ask_at(site, one.address, trusted).served_by in own]
    return f"{_listed(shared)} leads to the same Droplets, so that answers don't tell" if shared else ""


def _listed(some: Sequence[Earlier]) -> str:
    return ", ".join(one.address for one in some)


def _note(news: dict[str, Any], earlier: Sequence[Earlier]) -> None:
    """Note from when on the name leads elsewhere, and for how long it is remembered where it led.

    What was seen of a record while it was there counts, else the TTL of the one in its place.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    unknown = [one for one in earlier if not one.ttl]
    ttl = _ttl(news) if unknown and news["dns"] == "external" else float(news["old_is_asked_for"])
    for one in unknown:
        one.ttl = ttl
    for one in earlier:
        one.since = one.since or now


def _ttl(news: dict[str, Any]) -> float:
    """Look up for how long the record of the name may be remembered; less than our own records have it is not."""
    least = int(news["old_is_asked_for"])
    found = ttl_of(host_of(news["url"]))
    if found.is_the_zones and found.seconds is not None:
        return max(1, found.seconds)
    seconds = max(least, found.seconds or 0)
    why = "no name server answered" if found.seconds is None else "only a resolver answered, which knows what is left"
    warn(f"{news['url']}: for how long its DNS record may be remembered is not known ({why}), {seconds} s is assumed")
    return seconds


def _wait(news: dict[str, Any], earlier: Sequence[Earlier]) -> None:
    """Wait until the old records have run out everywhere; raises ActionError when that is longer than allowed."""
    until, old = max((datetime.fromisoformat(one.since) + timedelta(seconds=one.ttl), one.address) for one in earlier)
    allowed = datetime.now(UTC) + timedelta(seconds=float(news["patience"]))
    while (left := (until - datetime.now(UTC)).total_seconds()) > 0:
        if until > allowed:
            raise ActionError(
                f"{old}: is asked by resolvers until {until:%H:%M:%S} UTC, {left:.0f} s from now, which is longer than "
                f"dnsPatience ({news['patience']:.0f} s); both addresses serve: run `pulumi up` again then, or set "
                "dnsPatience to 0 and lose the visitors whose resolvers have the old record"
            )
        report(f"{old} is still asked, for {left:.0f} s")
        pause(min(POLL_SECONDS, left))


def _outputs(props: dict[str, Any]) -> dict[str, Any]:
    """Return what the state is to have."""
    return {name: props[name] for name in INPUTS}
