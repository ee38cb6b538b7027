"""Whether a release serves: the look of a visitor, through Nginx, before the switch and after it."""

import http.client
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, urljoin, urlsplit

import pycurl

SECONDS = 10  # for one answer
REDIRECTS = 5
LARGEST = 4096  # bytes of a body that are kept
# Of what serves, and of the release that is to: Nginx's listeners that only root can open, and Gunicorn's sockets.
LISTENERS = {"current": "/run/look/current.sock", "candidate": "/run/look/candidate.sock"}
GUNICORNS = {"current": "/run/gunicorn.sock", "candidate": "/run/gunicorn-candidate.sock"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a visitor gets."""

    status: int
    location: str = ""
    cookies: list[str] = field(default_factory=list)  # as the headers Set-Cookie have them
    body: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Why a release does not serve; a lasting one is not tried again."""

    text: str
    lasting: bool = False


Ask = Callable[[str, Mapping[str, str]], Answer]  # path with query, cookies -> answer; raises pycurl.error


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """The page that has to be there: `app.health` and what `app.allow` says of it."""

    path: str
    statuses: tuple[str, ...]  # codes and ranges: 401, 200-399
    elsewhere: bool  # a redirect to a name that is not the site's is an answer

    def accepts(self, status: int) -> bool:
        """Whether a status is among the codes and ranges."""
        ranges = (one.partition("-") for one in self.statuses)
        return any(int(first) <= status <= int(last or first) for first, _, last in ranges)


def health(domain: str, release: str, page: Page, which: str) -> Problem | None:
    """Return why a release does not serve, None when it does; `which` is current or candidate.

    /healthz through Nginx must name it, /readyz reach the database, and the page must be there.
    """
    by_nginx = asking(domain, LISTENERS[which])
    try:
        answer = by_nginx("/healthz", {})
        if answer.status != http.client.OK or f'"{release}"' not in answer.body:
            return Problem(text=f"/healthz: must name release {release}, answered {answer.status} {answer.body[:200]}")
        answer = asking(domain, GUNICORNS[which])("/readyz", {})
        if answer.status != http.client.OK:
            return Problem(text=f"/readyz: answered {answer.status} {answer.body[:500]}")
        return look(by_nginx, domain, page)
    except pycurl.error as error:
        return Problem(text=f"no answer: {[*error.args][-1]}")


def look(ask: Ask, domain: str, page: Page) -> Problem | None:
    """Return what a visitor of the page would miss, None if all is well; redirects on the site's name are followed."""
    url = f"https://{domain}{page.path}"
    way, cookies = [page.path], dict[str, str]()
    while True:
        parts = urlsplit(url)
        answer = ask(
            quote(parts.path or "/", safe="/%:@!$&'()*+,;=~") + (f"?{parts.query}" if parts.query else ""), cookies
        )
        if not (300 <= answer.status < 400 and answer.location):  # noqa: PLR2004 - redirects
            return None if page.accepts(answer.status) else refused(answer.status, way, domain)
        remember(answer.cookies, cookies)
        try:
            target = urlsplit(urljoin(url, answer.location))
            here = target.hostname == domain and target.port in {None, 80, 443}
        except ValueError:
            return Problem(text=f"{way[-1]}: must lead to an address, leads to none; correct it", lasting=True)
        if not here:
            return None if page.elsewhere else led_away(way[-1], target.hostname or "", domain)
        # A visitor of plain HTTP is led back to HTTPS by Nginx.
        url = target._replace(scheme="https", netloc=domain, fragment="").geturl()
        way.append(target.path or "/")
        if len(way) > REDIRECTS + 1:
            return endless(way)


def refused(status: int, way: list[str], domain: str) -> Problem:
    """Say what is wrong with an answer, and what to change."""
    name = " -> ".join(way)
    if status == http.client.BAD_REQUEST:
        return Problem(
            text=f"{name}: answered 400; ALLOWED_HOSTS must have {domain}, as the variable ALLOWED_HOSTS does",
            lasting=True,
        )
    if status >= http.client.INTERNAL_SERVER_ERROR:
        return Problem(text=f"{name}: answered {status}, an error of the app")
    return Problem(
        text=f"{name}: answered {status}; if the site has its first page elsewhere, name one that visitors see, such "
        f"as `pulumi config set --path django-do:app.health.path /shop/`; if {status} is right, add it to "
        "app.health.status",
        lasting=True,
    )


def led_away(path: str, name: str, domain: str) -> Problem:
    """Say that a redirect leaves the site."""
    related = name.endswith(f".{domain}") or domain.endswith(f".{name}")
    fix = (
        f"a second name is not supported: let the project stay at {domain} (PREPEND_WWW, a canonical host), or make "
        f"{name} the `domain`"
        if related
        else f"let the project stay at {domain}, or, if that is meant (a log-in elsewhere, say), set "
        "app.allow: [redirect-elsewhere]"
    )
    text = f"{path}: must be answered at {domain}, leads to {name}, which is not served here; {fix}"
    return Problem(text=text, lasting=True)


def endless(way: list[str]) -> Problem:
    """Say that redirects do not end."""
    fix = (
        "the app takes HTTPS for plain HTTP: see SECURE_PROXY_SSL_HEADER and SECURE_SSL_REDIRECT, or its own redirect"
        if len({*way}) == 1
        else "correct the redirect, or name another page by app.health.path"
    )
    text = f"{way[0]}: must end within {REDIRECTS} redirects, goes {' -> '.join(way)}; {fix}"
    return Problem(text=text, lasting=True)


def remember(headers: list[str], cookies: dict[str, str]) -> None:
    """Keep cookies as a browser does, as far as a redirect may depend on them."""
    for header in headers:
        try:
            parsed = SimpleCookie(header)
        except CookieError:
            continue  # as a browser, which ignores it
        for name, morsel in parsed.items():
            cookies[name] = morsel.coded_value


def asking(domain: str, socket: str) -> Ask:
    """Return a function that asks by a Unix socket, as a visitor who came over HTTPS."""

    def ask(path: str, cookies: Mapping[str, str]) -> Answer:
        body, headers = io.BytesIO(), io.BytesIO()

        def keep(data: bytes) -> None:  # a number would tell curl how much of it was taken, and all is
            body.write(data[: max(0, LARGEST - body.tell())])

        curl = pycurl.Curl()
        curl.setopt(pycurl.URL, f"http://{domain}{path}")
        curl.setopt(pycurl.UNIX_SOCKET_PATH, socket)
        curl.setopt(pycurl.PATH_AS_IS, 1)
        curl.setopt(pycurl.NOPROXY, "*")
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.TIMEOUT, SECONDS)
        curl.setopt(pycurl.USERAGENT, "release-agent")
        curl.setopt(pycurl.HTTPHEADER, ["X-Forwarded-Proto: https", "Accept: text/html,*/*"])
        if cookies:
            curl.setopt(pycurl.COOKIE, "; ".join(f"{name}={value}" for name, value in cookies.items()))
        curl.setopt(pycurl.WRITEFUNCTION, keep)
        curl.setopt(pycurl.HEADERFUNCTION, headers.write)
        try:
            curl.perform()
            status = curl.getinfo(pycurl.RESPONSE_CODE)
        finally:
            curl.close()
        headers.seek(0)
        headers.readline()  # the status
        found = http.client.parse_headers(headers)
        return Answer(
            status=status,
            location=found.get("Location", ""),
            cookies=found.get_all("Set-Cookie", []),
            body=body.getvalue().decode(errors="replace"),
        )

    return ask
