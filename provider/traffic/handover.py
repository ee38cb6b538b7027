"""The time in which visitors still come to the old address, because resolvers remember it: nothing is deleted then."""

from datetime import UTC, datetime, timedelta
from typing import Any

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
from provider.traffic.public_site import addresses, host_of
from provider.traffic.record_ttl import ttl_of

POLL_SECONDS = 1.0
INPUTS = ("url", "address", "dns", "old_is_asked_for", "patience")


class HandoverProvider(ResourceProvider):
    """Wait until no resolver has the old address any more, as far as the user lets it; then the engine deletes."""

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse what can't be waited for."""
        return checked(news, text_problems(news, "handover", "url", "address"))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Find another address, or a wait that had no end."""
        return DiffResult(changes=bool(differing(olds, news, ["url", "address"]) or "since" in olds))

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Take it as it is: there is no old address."""
        return CreateResult(props["address"], _outputs(props))

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Wait, if the name leads to another address than last time."""
        left = {"old_address": olds["address"], "since": ""}  # what an update leaves that does not come to the end
        left |= {name: olds[name] for name in ("old_address", "since", "old_ttl") if name in olds}
        old = left["old_address"]
        if old != news["address"] and news["patience"]:
            try:
                if news["dns"] == "external":
                    left["old_ttl"] = _require_moved(news, old, left.get("old_ttl"))
                left["since"] = left["since"] or datetime.now(UTC).isoformat(timespec="seconds")
                asked_for = float(left.get("old_ttl") or news["old_is_asked_for"])
                _wait(news, old, datetime.fromisoformat(left["since"]), asked_for)
            except StillTheOldError as error:
                raise PartlyMade(str(error), id_, _outputs(news) | left | {"old_ttl": error.ttl, "since": ""}) from None
            except ActionError as error:
                raise PartlyMade(str(error), id_, _outputs(news) | left) from None
        return UpdateResult(_outputs(news))


class StillTheOldError(ActionError):
    """A name that we don't manage leads to the old address; its record may be remembered for `ttl` seconds."""

    def __init__(self, problem: str, ttl: int) -> None:
        super().__init__(problem)
        self.ttl = ttl


def _require_moved(news: dict[str, Any], old: str, seen: int | None) -> int:
    """Return for how long the old record may be remembered; refuse to go on while the name leads to the old address.

    What was `seen` while that record was there counts. The TTL of the one in its place is taken for the old one's.
    """
    if old not in addresses(news["url"]):
        return seen or _ttl(news)
    ttl = _ttl(news)
    raise StillTheOldError(
        f"{news['url']}: still leads to {old}, which serves as before; change its DNS record to {news['address']}, "
        f"then run `pulumi up` again, which waits until the record of now has run out, {ttl} s",
        ttl,
    )


def _ttl(news: dict[str, Any]) -> int:
    """Look up for how long the record of the name may be remembered; less than our own records have it is not."""
    least = int(news["old_is_asked_for"])
    found = ttl_of(host_of(news["url"]))
    if found.is_the_zones and found.seconds is not None:
        return max(1, found.seconds)
    seconds = max(least, found.seconds or 0)
    why = "no name server answered" if found.seconds is None else "only a resolver answered, which knows what is left"
    warn(f"{news['url']}: for how long its DNS record may be remembered is not known ({why}), {seconds} s is assumed")
    return seconds


def _wait(news: dict[str, Any], old: str, since: datetime, asked_for: float) -> None:
    """Wait until the old record has run out everywhere; raises ActionError when that is longer than allowed."""
    until = since + timedelta(seconds=asked_for)
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
