"""The site as the internet sees it: its name and its addresses, asked by the runner."""

import json
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from protocol.health import CHECK_PATH
from provider.trust import authorities

if TYPE_CHECKING:
    import httpx

REQUEST_SECONDS = 10.0
UNREACHED = "see the Cloud Firewall, and Nginx on the Droplet"


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A site and the release that it must serve ("" any), from each of its Droplets."""

    url: str
    release: str
    droplets: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """The site's name."""
        return host_of(self.url)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one round of questions found: who answered; or what is wrong, and how to fix it."""

    problem: str = ""
    fix: str = ""
    served_by: str = ""  # a Droplet's mark


def trust() -> ssl.SSLContext:
    """Return whom this machine trusts, as httpx would by itself for each client, which takes longer than to ask."""
    return ssl.create_default_context(cafile=authorities())


def trust_for(name: str) -> ssl.SSLContext:
    """Return the same trust, but in the name, whatever address is asked."""
    context = _TrustFor(ssl.PROTOCOL_TLS_CLIENT)
    context.name = name
    context.load_verify_locations(cafile=authorities())
    return context


class _TrustFor(ssl.SSLContext):
    """Asks for a name's certificate, where the client would ask for that of the address in the URL.

    httpx has `sni_hostname` for that, of which its ways by a proxy know nothing (httpcore 1.0.9, http_proxy.py).
    """

    name: str

    def wrap_socket(self, *args: Any, **named: Any) -> ssl.SSLSocket:  # noqa: ANN401 -- as the base has them
        """Begin TLS."""
        return super().wrap_socket(*args, **named | {"server_hostname": self.name})

    def wrap_bio(self, *args: Any, **named: Any) -> ssl.SSLObject:  # noqa: ANN401
        """Begin TLS within TLS, by a proxy that has it, too."""
        return super().wrap_bio(*args, **named | {"server_hostname": self.name})


def ask(site: Site, trusted: ssl.SSLContext) -> Answer:
    """Ask the public name for the release, over verified TLS."""
    import httpx

    # A client for each question: a kept connection would go on talking to the Droplet that had the address before.
    # Its proxies are the environment's (HTTPS_PROXY).
    with httpx.Client(timeout=REQUEST_SECONDS, verify=trusted) as client:
        try:
            response = client.get(f"{site.url}{CHECK_PATH}")
        except httpx.TransportError as error:
            return _unreachable(site.url, error)
    return _health(response, site.release)


def ask_plain(site: Site, trusted: ssl.SSLContext) -> Answer:
    """Ask port 80 of the public name for the way to the other one."""
    import httpx

    url = site.url
    with httpx.Client(timeout=REQUEST_SECONDS, verify=trusted) as client:
        try:
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


def ask_address(site: Site, address: str) -> Answer:
    """Ask the address itself, over HTTP: without the name there is no certificate yet."""
    import httpx

    with httpx.Client(timeout=REQUEST_SECONDS) as client:
        try:
            response = client.get(f"http://{address}{CHECK_PATH}", headers={"Host": site.host})
        except httpx.TransportError as error:
            return _unreachable(f"http://{address}", error)
    return _health(response, site.release)


def ask_at(site: Site, address: str, trusted: ssl.SSLContext) -> Answer:
    """Ask the address as visitors will once the name leads there: over TLS, for the site's name (`trust_for` it)."""
    import httpx

    with httpx.Client(timeout=REQUEST_SECONDS, verify=trusted) as client:
        try:
            response = client.get(f"https://{address}{CHECK_PATH}", headers={"Host": site.host})
        except httpx.TransportError as error:
            return _unreachable(f"https://{address}", error)
    return _health(response, site.release)


def _health(response: "httpx.Response", release: str) -> Answer:
    return judged(str(response.url), response.status_code, response.content, release)


def judged(url: str, status: int, body: bytes, release: str) -> Answer:
    """Judge an answer of /healthz."""
    document = None
    with suppress(ValueError):
        document = json.loads(body)
    if status != HTTPStatus.OK or not isinstance(document, dict):
        return Answer(
            f"{url} answered {status} {body[:100].decode(errors='replace')!r}",
            "/healthz is answered by Gunicorn on the Droplet, whatever the app is: see what stands before it, and "
            "`journalctl -u gunicorn` there",
        )
    if release and document.get("release") != release:
        return Answer(
            f"{url} serves release {document.get('release')!r}",
            "`pulumi refresh`, then `pulumi up`, rolls the release out again",
            str(document.get("served_by")),
        )
    return Answer(served_by=str(document.get("served_by")))


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
        fix = UNREACHED
    return Answer(f"{url} could not be reached: {text}", fix)


def host_of(url: str) -> str:
    """Return the name in a URL."""
    return str(urlsplit(url).hostname)


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
