"""The public URL, asked from outside: a Droplet could lie. Only what passes is called good."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from protocol.health import mark
from protocol.release import GOOD, Release
from provider.actions import (
    ActionError,
    CheckResult,
    CreateResult,
    DiffResult,
    UpdateResult,
    checked,
    differing,
    pause,
    report,
    text_problems,
)
from provider.traffic.public_site import (
    Answer,
    Site,
    ask,
    ask_address,
    ask_at,
    ask_plain,
    leads_to,
    trust,
    trust_for,
)
from provider.traffic.rollout import PARTS
from provider.traffic.turns import SHOWN
from provider.uploads.spaces_provider import SpacesProvider

POLL_SECONDS = 0.5
# A load balancer has its Droplets answer by turns. Visitors take turns meanwhile, so who answers here is as good as
# drawn: to hear each of n, n * (log n + 0.6) questions are needed on average, of 50 Droplets 225, of 200 1180.
AT_ONCE = 16  # questions
ASKED_FOR_EACH = 4  # times at most, where there are few


class ProbeProvider(SpacesProvider):
    """Ask until the release answers over verified TLS, then write good.json."""

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse what could not be asked."""
        problems = text_problems(news, "probe", "url", "address", "releases_bucket", "region", "release", *PARTS)
        url = news.get("url")
        if isinstance(url, str) and (not url.startswith("https://") or url != f"https://{urlsplit(url).hostname}"):
            problems.append(f"probe.url: must be https:// and a name, got {url!r}")
        if news.get("dns") not in {"managed", "external"}:
            problems.append(f"probe.dns: must be managed or external, got {news.get('dns')!r}; see `dns`")
        if news.get("edge") not in {"direct", "balanced"}:
            problems.append(f"probe.edge: must be direct or balanced, got {news.get('edge')!r}")
        return checked(news, problems)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Ask again for another release, place or Droplet, and once the record that was missing is there."""
        replaces = differing(olds, news, ["releases_bucket", "region"])
        changed = differing(olds, news, ["url", "release", *PARTS, "address", "dns", "droplet_ids"])
        arrived = not changed and bool(olds.get("pending")) and leads_to(news["url"], news["address"])
        return DiffResult(changes=bool(replaces or changed or arrived), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Probe."""
        return CreateResult(f"{props['releases_bucket']}/{GOOD}", self._probe(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Probe again."""
        return UpdateResult(self._probe(news))

    def _probe(self, props: dict[str, Any]) -> dict[str, Any]:
        release = Release(**{name: props[name] for name in ("release", *PARTS)})
        pending = wait(props, monotonic() + float(props["deadline"]))
        self.spaces(props["region"]).put_json(props["releases_bucket"], GOOD, release.document())
        inputs = ("url", "address", "dns", "edge", "droplet_ids", "releases_bucket", "region", "deadline")
        return {**{name: props[name] for name in inputs}, **release.document(), "pending": pending}


def wait(props: dict[str, Any], end: float) -> str:
    """Ask until the release answers; return the DNS record that is still to be created, "" when the name works.

    A name that we don't manage may lead nowhere yet, or to the site that is being replaced: then the release has to
    answer at its address, and that is all that can be asked of it.
    """
    address = props["address"]
    site = Site(url=props["url"], release=props["release"], droplets=tuple(map(str, props["droplet_ids"])))
    missing = {mark(droplet): droplet for droplet in site.droplets}
    while True:
        answer = ask_name(site, missing)
        if not answer.problem:
            return ""
        if props["dns"] == "external" and not leads_to(site.url, address):
            answer = _ask_by_address(site, address, missing, edge=props["edge"])
            if not answer.problem:
                return f"create the DNS record `{site.host}. A {address}`, then run `pulumi up` again"
        if monotonic() >= end:
            raise ActionError(
                f"{site.url}: must serve release {site.release} within {props['deadline']:.0f} s, {answer.problem}; "
                f"{answer.fix}"
            )
        report(f"waiting for release {site.release}: {answer.problem}")
        pause(min(POLL_SECONDS, max(0.0, end - monotonic())))


def ask_name(site: Site, missing: dict[str, str]) -> Answer:
    """Ask the public name: over TLS, and once for the way there from port 80."""
    trusted = trust()
    return _ask_each(site, missing, lambda: ask(site, trusted), lambda: ask_plain(site, trusted))


def _ask_by_address(site: Site, address: str, missing: dict[str, str], *, edge: str) -> Answer:
    """Ask the address: a load balancer has a certificate before the name leads there, a Droplet obtains it by that."""
    if edge == "direct":
        return ask_address(site, address)
    trusted = trust_for(site.host)
    return _ask_each(site, missing, lambda: ask_at(site, address, trusted), Answer)


def _ask_each(
    site: Site, missing: dict[str, str], question: Callable[[], Answer], once: Callable[[], Answer]
) -> Answer:
    """Ask some times, at once; strike off `missing`, marks with their Droplets, who has answered with the release.

    Whoever has been heard is not asked for again: else one round would have to hear all of many. Droplets that are none
    of the stack's are passed over: those whose places were taken stand behind the load balancer to the update's end,
    with the release of before.
    """
    own = set(map(mark, site.droplets))

    def heard(answers: list[Answer]) -> Answer:
        for answer in answers:
            if not answer.problem:
                missing.pop(answer.served_by, None)
        others = [answer for answer in answers if answer.problem and answer.served_by and answer.served_by not in own]
        wrong = [answer for answer in answers if answer.problem and answer not in others]
        return wrong[0] if wrong else others[0] if others == answers else Answer()

    answers = [question()]
    answer = heard(answers)
    if answer.problem and not answer.served_by:
        return answer
    if (said := once()).problem:
        return said
    if missing:
        times = min(AT_ONCE, ASKED_FOR_EACH * len(site.droplets))
        with ThreadPoolExecutor(max_workers=times) as threads:
            answers += threads.map(lambda _: question(), range(times))
        answer = heard(answers)
    if answer.problem or not missing:
        return answer
    named = ", ".join([*missing.values()][:SHOWN]) + (f" and {len(missing) - SHOWN} more" * (len(missing) > SHOWN))
    return Answer(
        f"Droplet {named} has not answered there",
        "see the health of the load balancer's Droplets, in the control panel: Networking, Load Balancers",
    )
