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
)
from provider.public_site import addresses

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
        old, since = (olds["old_address"], olds["since"]) if "since" in olds else (olds["address"], "")
        if old != news["address"] and news["patience"]:
            try:
                _require_moved(news, old)
                since = since or datetime.now(UTC).isoformat(timespec="seconds")
                _wait(news, old, datetime.fromisoformat(since))
            except ActionError as error:
                raise PartlyMade(str(error), id_, _outputs(news) | {"old_address": old, "since": since}) from None
        return UpdateResult(_outputs(news))


def _require_moved(news: dict[str, Any], old: str) -> None:
    """Refuse to go on while a name that we don't manage leads to the old address."""
    if news["dns"] == "external" and old in addresses(news["url"]):
        raise ActionError(
            f"{news['url']}: still leads to {old}, which serves as before; change its DNS record to {news['address']}, "
            "then run `pulumi up` again"
        )


def _wait(news: dict[str, Any], old: str, since: datetime) -> None:
    """Wait until the old record has run out everywhere; raises ActionError when that is longer than allowed."""
    until = since + timedelta(seconds=float(news["old_is_asked_for"]))
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
