"""The address that the site's name is to lead to: one that takes another's place must serve before the name moves."""

from time import monotonic
from typing import Any

from provider.actions import (
    ActionError,
    CheckResult,
    CreateResult,
    DiffResult,
    ResourceProvider,
    UpdateResult,
    checked,
    differing,
    pause,
    report,
    text_problems,
)
from provider.traffic.probe import POLL_SECONDS
from provider.traffic.public_site import Site, ask_at, trust_for

INPUTS = ("url", "address", "region", "release", "ttl", "deadline")


class NewAddressProvider(ResourceProvider):
    """Look at the new address as visitors will come to it; say for how long the old one will still be asked.

    `before` has all that the address was, in order: an update may end between this and who waits for the old one.
    """

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse what can't be asked."""
        return checked(news, text_problems(news, "new_address", "url", "address"))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Find another address, or another name for it; the region is to be known before it changes."""
        return DiffResult(changes=bool(differing(olds, news, ["url", "address", "region"])))

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Take it as it is: no address of ours is given up for it."""
        return CreateResult(props["address"], _outputs(props, 0, []))

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Wait until the new address serves the release; only then may the name lead to it."""
        before = list(olds.get("before") or [])
        if olds["address"] == news["address"]:
            return UpdateResult(_outputs(news, int(olds["old_is_asked_for"]), before))
        # In another region there is no certificate yet, and it is obtained by the name: nothing serves before that
        # leads there.
        if olds.get("region", news["region"]) == news["region"]:
            _wait(news, olds["address"])
        return UpdateResult(_outputs(news, int(olds["ttl"]), [*before, olds["address"]]))


def _wait(news: dict[str, Any], old: str) -> None:
    """Ask until the new address serves; raises ActionError when that takes too long."""
    end = monotonic() + float(news["deadline"])
    site = Site(url=news["url"], release=news["release"])
    trusted = trust_for(site.host)
    wanted = f"release {site.release}" if site.release else "the site"
    while (answer := ask_at(site, news["address"], trusted)).problem:
        if monotonic() >= end:
            raise ActionError(
                f"{news['url']}: keeps its address {old}, since {news['address']} must serve {wanted} within "
                f"{news['deadline']:.0f} s, {answer.problem}; {answer.fix}; what is gone there, `pulumi refresh` finds"
            )
        report(f"waiting for {news['address']}: {answer.problem}")
        pause(POLL_SECONDS)


def _outputs(props: dict[str, Any], asked_for: int, before: list[str]) -> dict[str, Any]:
    """Return what the state is to have; for so many seconds the old address is asked once the name leads elsewhere."""
    return {**{name: props[name] for name in INPUTS}, "old_is_asked_for": asked_for, "before": before}
