"""Whether a release serves: the look of a visitor, through Nginx, before the switch and after it."""

import contextlib
import http.client
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import CookieError, SimpleCookie
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import pycurl

from agent.notify import alive

SECONDS = 10  # for one answer of what is no page
# For a page, redirects included: Nginx gives visitors as long for each answer (proxy_read_timeout). The watchdog waits
# no longer, so it hears meanwhile.
PATIENCE = 60  # seconds
REDIRECTS = 5
LARGEST = 256 * 1024  # bytes of a body that are kept
MOST_ASSETS = 10  # stylesheets and scripts of a page that are asked for
# Of what serves, and of the release that is to: Nginx's listeners that only root can open, and Gunicorn's sockets.
LISTENERS = {"current": "/run/look/current.sock", "candidate": "/run/look/candidate.sock"}
GUNICORNS = {"current": "/run/gunicorn.sock", "candidate": "/run/gunicorn-candidate.sock"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a visitor gets."""

    status: int
    location: str = ""
    cookies: list[str] = field(default_factory=list)  # as the headers Set-Cookie have them
    html: bool = False
    body: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """Where a visitor has come to, and what is there."""

    url: str
    answer: Answer


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


# A path that no site has; a redirect of it is followed, or leads away.
NOWHERE = Page(path="/no-such-page-a-release-is-looked-at/", statuses=("100-499",), elsewhere=True)


def health(domain: str, release: str, page: Page, which: str) -> Problem | None:
    """Return why a release does not serve, None when it does; `which` is current or candidate.

    /healthz through Nginx must name it, /readyz reach the database, and the page must be there.
    """
    by_nginx, by_gunicorn = asking(domain, LISTENERS[which]), asking(domain, GUNICORNS[which])
    return (
        unsaid(by_nginx, "/healthz", f'"{release}"', f"must name release {release}, ")
        or unsaid(by_gunicorn, "/readyz")
        or look(asking(domain, LISTENERS[which], PATIENCE), domain, page)
    )


def unsaid(ask: Ask, path: str, text: str = "", rule: str = "") -> Problem | None:
    """Return why an address that no app answers does not say a text, None when it does."""
    try:
        answer = ask(path, {})
    except pycurl.error as error:
        return silent([path], error)
    if answer.status == http.client.OK and text in answer.body:
        return None
    return Problem(text=f"{path}: {rule}answered {answer.status} {answer.body[:500]}")


def look(ask: Ask, domain: str, page: Page) -> Problem | None:
    """Return why a visitor does not get the page, None if all is well."""
    came = visit(ask, domain, page)
    return came if isinstance(came, Problem) else None


def visit(ask: Ask, domain: str, page: Page) -> Visit | Problem:
    """Return where a visitor of the page comes to; redirects on the site's name are followed."""
    url = f"https://{domain}{page.path}"
    way, cookies = [page.path], dict[str, str]()
    end = time.monotonic() + PATIENCE
    while True:
        try:
            answer = ask(as_asked(urlsplit(url)), cookies)
        except pycurl.error as error:
            return late(way) if error.args[0] == pycurl.E_OPERATION_TIMEDOUT else silent(way, error)
        if not (300 <= answer.status < 400 and answer.location):  # noqa: PLR2004 - redirects
            return Visit(url=url, answer=answer) if page.accepts(answer.status) else refused(answer.status, way, domain)
        remember(answer.cookies, cookies)
        try:
            target = urlsplit(urljoin(url, answer.location))
            here = is_here(target, domain)
        except ValueError:
            return Problem(text=f"{way[-1]}: must lead to an address, leads to none; correct it", lasting=True)
        if not here:
            return Visit(url=url, answer=answer) if page.elsewhere else led_away(way[-1], target.hostname or "", domain)
        # A visitor of plain HTTP is led back to HTTPS by Nginx.
        url = target._replace(scheme="https", netloc=domain, fragment="").geturl()
        way.append(target.path or "/")
        if len(way) > REDIRECTS + 1:
            return endless(way)
        if time.monotonic() > end:
            return late(way)


def as_asked(parts: SplitResult) -> str:
    """Return the path and query of an address as a browser sends them."""
    path, query = (quote(text, safe="/%:@!$&'()*+,;=~?") for text in (parts.path or "/", parts.query))
    return f"{path}?{query}" if query else path


def is_here(parts: SplitResult, domain: str) -> bool:
    """Whether an address is the site's; raises ValueError for a port that is none."""
    return parts.hostname == domain and parts.port in {None, 80, 443}


def shortcomings(domain: str, page: Page) -> list[str]:
    """Return what visitors of a release that serves would miss all the same."""
    listener = LISTENERS["current"]
    patient = asking(domain, listener, PATIENCE)
    came = visit(patient, domain, page)
    if isinstance(came, Problem):
        return [f"the page answered, then did not: {came.text}"]
    return [*unstyled(asking(domain, listener), came, domain), *fails_at_nothing(patient, domain)]


class Assets(HTMLParser):
    """Keeps where a page's stylesheets and scripts are, as the page has it, in the page's order."""

    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at an element."""
        given = {name: (value or "").strip() for name, value in attrs}
        href = given.get("href", "")
        if tag == "base":
            self.base = self.base or href
        elif tag == "script":
            self.links.append(given.get("src", ""))
        elif tag == "link" and "stylesheet" in given.get("rel", "").lower().split():
            self.links.append(href)


def assets(came: Visit, domain: str) -> list[SplitResult]:
    """Return the addresses of a page's stylesheets and scripts that are the site's own, each once."""
    found = Assets()
    # Older Pythons end so at some broken pages (github.com/python/cpython/issues/77057); what came before that counts.
    with contextlib.suppress(AssertionError):
        found.feed(came.answer.body if came.answer.html else "")
    addresses: dict[SplitResult, None] = {}
    for link in filter(None, found.links):
        try:
            parts = urlsplit(urljoin(urljoin(came.url, found.base), link))
            if is_here(parts, domain):
                addresses[parts._replace(fragment="")] = None
        except ValueError:
            continue  # no address, for a browser either
    return [*addresses]


def unstyled(ask: Ask, came: Visit, domain: str) -> list[str]:
    """Say which of its own stylesheets and scripts a page does not get."""
    end = time.monotonic() + SECONDS
    missing = []
    for parts in assets(came, domain)[:MOST_ASSETS]:
        if time.monotonic() > end:
            break
        try:
            status = ask(as_asked(parts), {}).status
        except pycurl.error as error:
            missing.append(f"{parts.path} (no answer: {[*error.args][-1]})")
        else:
            if status >= http.client.BAD_REQUEST:
                missing.append(f"{parts.path} (answers {status})")
    if not missing:
        return []
    text = (
        f"{urlsplit(came.url).path} names what a browser does not get: {', '.join(missing)}; was a build forgotten? "
        "What a build makes is left out of a release where .gitignore names it: name it in app.include"
    )
    return [text]


def fails_at_nothing(ask: Ask, domain: str) -> list[str]:
    """Say that the page for what is not found is an error itself."""
    came = visit(ask, domain, NOWHERE)
    if isinstance(came, Visit):
        return []
    return [f"the page for what is not found fails itself: {came.text}; see `journalctl -u gunicorn` on the Droplet"]


def silent(way: list[str], error: pycurl.error) -> Problem:
    """Say that there was no answer."""
    return Problem(text=f"{' -> '.join(way)}: no answer: {[*error.args][-1]}")


def late(way: list[str]) -> Problem:
    """Say that a page takes too long."""
    return Problem(
        text=f"{' -> '.join(way)}: must be answered within {PATIENCE} s, redirects included, is not, and visitors get "
        "504 then; let it do less, or name another page by app.health.path"
    )


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


def asking(domain: str, socket: str, seconds: float = SECONDS) -> Ask:
    """Return a function that asks by a Unix socket, as a visitor who came over HTTPS; `seconds` are for one answer."""

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
        curl.setopt(pycurl.TIMEOUT_MS, round(seconds * 1000))
        curl.setopt(pycurl.NOPROGRESS, 0)
        curl.setopt(pycurl.XFERINFOFUNCTION, lambda *_progress: alive())  # once a second, while nothing comes, too
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
            html=found.get_content_type() == "text/html",
            body=body.getvalue().decode(errors="replace"),
        )

    return ask
