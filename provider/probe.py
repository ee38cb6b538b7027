"""The public URL, asked from outside: a Droplet could lie. Only what passes is called good."""

import socket
from contextlib import suppress
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

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
from provider.rollout import PARTS
from provider.spaces_provider import SpacesProvider

if TYPE_CHECKING:
    import httpx

POLL_SECONDS = 0.5
REQUEST_SECONDS = 10.0


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
        inputs = ("url", "address", "dns", "droplet_ids", "releases_bucket", "region", "deadline")
        return {**{name: props[name] for name in inputs}, **release.document(), "pending": pending}


class Answer(NamedTuple):
    """What one round of questions found: nothing wrong, or what, and how to fix it."""

    problem: str = ""
    fix: str = ""


def wait(props: dict[str, Any], end: float) -> str:
    """Ask until the release answers; return the DNS record that is still to be created, "" when the name works.

    A name that we don't manage may lead nowhere yet, or to the site that is being replaced: then the release has to
    answer at its address, and that is all that can be asked of it.
    """
    url, address = props["url"], props["address"]
    while True:
        answer = ask(url, props["release"])
        if not answer.problem:
            return ""
        if props["dns"] == "external" and not leads_to(url, address):
            by_address = ask_address(url, address, props["release"])
            if not by_address.problem:
                return f"create the DNS record `{urlsplit(url).hostname}. A {address}`, then run `pulumi up` again"
            answer = by_address
        if monotonic() >= end:
            raise ActionError(
                f"{url}: must serve release {props['release']} within {props['deadline']:.0f} s, {answer.problem}; "
                f"{answer.fix}"
            )
        report(f"waiting for release {props['release']}: {answer.problem}")
        pause(min(POLL_SECONDS, max(0.0, end - monotonic())))


def ask(url: str, release: str) -> Answer:
    """Ask the public name: the release over verified TLS, and port 80 for the way there."""
    import httpx

    # A client for each round: a kept connection would go on talking to the Droplet that had the address before.
    # Its trust and proxies are the environment's (SSL_CERT_FILE, HTTPS_PROXY), else certifi's and none.
    with httpx.Client(timeout=REQUEST_SECONDS) as client:
        try:
            answer = _health(client.get(f"{url}/healthz"), release)
            if answer.problem:
                return answer
            plain = client.get(url.replace("https://", "http://", 1))
        except httpx.TransportError as error:
            return _unreachable(url, error)
    location = plain.headers.get("location", "")
    if not plain.is_redirect or not location.startswith(f"{url}/"):
        return Answer(
            f"port 80 answered {plain.status_code} {location} instead of a redirect to {url}/",
            "see the Nginx configuration on the Droplet",
        )
    return Answer()


def ask_address(url: str, address: str, release: str) -> Answer:
    """Ask the address itself, over HTTP: without the name there is no certificate yet."""
    import httpx

    with httpx.Client(timeout=REQUEST_SECONDS) as client:
        try:
            response = client.get(f"http://{address}/healthz", headers={"Host": httpx.URL(url).host})
        except httpx.TransportError as error:
            return _unreachable(f"http://{address}", error)
    return _health(response, release)


def _health(response: "httpx.Response", release: str) -> Answer:
    """Judge an answer of /healthz."""
    document = None
    with suppress(ValueError):
        document = response.json()
    if response.status_code != HTTPStatus.OK or not isinstance(document, dict):
        return Answer(
            f"{response.url} answered {response.status_code} {response.headers.get('content-type', '')}",
            "/healthz is answered by Gunicorn on the Droplet, whatever the app is: see what stands before it, and "
            "`journalctl -u gunicorn` there",
        )
    if document.get("release") != release:
        return Answer(
            f"{response.url} serves release {document.get('release')!r}",
            "`pulumi refresh`, then `pulumi up`, rolls the release out again",
        )
    return Answer()


def _unreachable(url: str, error: "httpx.TransportError") -> Answer:
    """Say what to look at when there was no answer."""
    import httpx

    text = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text or (isinstance(error, httpx.ConnectError) and "SSL" in text):
        fix = "see `journalctl -u certificate` on the Droplet, and SSL_CERT_FILE on this machine"
    elif isinstance(error, httpx.ProxyError):
        fix = "see what HTTPS_PROXY on this machine leads to"
    elif not addresses(url):
        fix = "the name has no address: the domain's registrar must name ns1.digitalocean.com to ns3.digitalocean.com"
    else:
        fix = "see the Cloud Firewall, and Nginx on the Droplet"
    return Answer(f"{url} could not be reached: {text}", fix)


def leads_to(url: str, address: str) -> bool:
    """Tell whether the URL's name resolves to the address, as far as this machine can see."""
    return address in addresses(url)


def addresses(url: str) -> set[str]:
    """Resolve the URL's name, to nothing when it has no address."""
    try:
        found = socket.getaddrinfo(urlsplit(url).hostname, 443, type=socket.SOCK_STREAM)
    except socket.gaierror:
        return set()
    return {str(sockaddr[0]) for *_, sockaddr in found}
