"""The look of a visitor: which answers of a page count, and where redirects may lead."""

import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pycurl
import pytest

from agent import health
from agent.health import (
    LARGEST,
    LISTENERS,
    NOWHERE,
    Answer,
    Page,
    Problem,
    Visit,
    asking,
    fails_at_nothing,
    look,
    shortcomings,
    unstyled,
    visit,
)

DOMAIN = "shop.example"
PAGE = Page(path="/", statuses=("200-399", "401"), elsewhere=False)


class Site:
    """Answers by path, and what was asked."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, str]]] = []

    def __call__(self, path: str, cookies: Mapping[str, str]) -> Answer:
        """Answer."""
        self.asked.append((path, dict(cookies)))
        return self.answers[path]


def to(location: str, status: int = 302, cookies: tuple[str, ...] = ()) -> Answer:
    """Lead on."""
    return Answer(status=status, location=location, cookies=[*cookies])


def looked(answers: Mapping[str, Answer], page: Page = PAGE) -> Problem | None:
    """Look at a site."""
    return look(Site(answers), DOMAIN, page)


@pytest.mark.parametrize("status", [200, 204, 304, 399, 401])
def test_what_a_site_may_answer(status: int) -> None:
    """By default: a page, something without a body, a log-in by the browser."""
    assert looked({"/": Answer(status=status)}) is None


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "/: answered 400; ALLOWED_HOSTS must have shop.example"),
        (403, "/: answered 403; if the site has its first page elsewhere, name one"),
        (
            404,
            "`pulumi config set --path django-do:app.health.path /shop/`; if 404 is right, add it to app.health.status",
        ),
    ],
)
def test_what_no_visitor_wants_is_refused_for_good(status: int, said: str) -> None:
    """With what to set; another try would not change it."""
    problem = looked({"/": Answer(status=status)})
    assert problem is not None
    assert said in problem.text
    assert problem.lasting


@pytest.mark.parametrize("status", [500, 502, 503])
def test_an_error_of_the_server_may_pass(status: int) -> None:
    """A worker that starts, a database that comes back."""
    assert looked({"/": Answer(status=status)}) == Problem(text=f"/: answered {status}, an error of the app")


@pytest.mark.parametrize(
    ("statuses", "status", "fits"),
    [(("404",), 404, True), (("404",), 200, False), (("200-204", "500"), 500, True), (("200-204",), 205, False)],
)
def test_a_stack_says_which_statuses_are_right(statuses: tuple[str, ...], status: int, *, fits: bool) -> None:
    """Codes and ranges, both ends included, and no others."""
    page = Page(path="/", statuses=statuses, elsewhere=False)
    assert (looked({"/": Answer(status=status)}, page) is None) is fits


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        ("/login/?next=/", "/login/?next=/"),
        ("login/", "/shop/login/"),
        ("../login/", "/login/"),
        ("https://shop.example/login/", "/login/"),
        ("https://shop.example:443/login/", "/login/"),
        ("http://shop.example/login/", "/login/"),  # Nginx leads that to HTTPS
        ("//shop.example/login/", "/login/"),
        ("https://SHOP.example/login/", "/login/"),
        ("/größe/ der schuhe", "/gr%C3%B6%C3%9Fe/%20der%20schuhe"),
        ("/login/#form", "/login/"),
        ("?page=2", "/shop/?page=2"),
        ("?name=größe l", "/shop/?name=gr%C3%B6%C3%9Fe%20l"),
    ],
)
def test_redirects_on_the_sites_name_are_followed(location: str, asked: str) -> None:
    """However they are written; the page at the end counts."""
    site = Site({"/shop/": to(location), asked: Answer(status=500)})
    problem = look(site, DOMAIN, Page(path="/shop/", statuses=("200",), elsewhere=False))
    assert [path for path, _ in site.asked] == ["/shop/", asked]
    assert problem is not None
    assert problem.text.startswith("/shop/ -> /")
    assert problem.text.endswith(": answered 500, an error of the app")


def test_five_redirects_are_taken_and_no_more() -> None:
    """As long as they lead to a page."""
    steps = {f"/{number}": to(f"/{number + 1}") for number in range(10)}
    page = Page(path="/0", statuses=("200",), elsewhere=False)
    assert looked(steps | {"/5": Answer(status=200)}, page) is None
    problem = looked(steps | {"/6": Answer(status=200)}, page)
    assert problem is not None
    assert problem.text == (
        "/0: must end within 5 redirects, goes /0 -> /1 -> /2 -> /3 -> /4 -> /5 -> /6; correct the redirect, or name "
        "another page by app.health.path"
    )


def test_a_page_that_leads_to_itself_takes_https_for_http() -> None:
    """What SECURE_SSL_REDIRECT does behind a proxy whose header it does not know."""
    problem = looked({"/": to("https://shop.example/", status=301)})
    assert problem is not None
    assert problem.text.endswith(
        "the app takes HTTPS for plain HTTP: see SECURE_PROXY_SSL_HEADER and SECURE_SSL_REDIRECT, or its own redirect"
    )


def test_cookies_are_kept_from_one_redirect_to_the_next() -> None:
    """A page may set one and lead to itself."""

    class Sets(Site):
        def __call__(self, path: str, cookies: Mapping[str, str]) -> Answer:
            super().__call__(path, cookies)
            header = "seen=yes; Secure; HttpOnly; Path=/"
            return (
                Answer(status=200) if cookies.get("seen") == "yes" else to("/", cookies=(header, "broken", 'q="a b"'))
            )

    site = Sets({"/": Answer(status=200)})
    assert look(site, DOMAIN, PAGE) is None
    assert site.asked[1] == ("/", {"seen": "yes", "q": '"a b"'})


@pytest.mark.parametrize(
    ("location", "said"),
    [
        (
            "https://www.shop.example/",
            "a second name is not supported: let the project stay at shop.example (PREPEND_WWW",
        ),
        ("//example/", "leads to example, which is not served here; a second name is not supported"),
        ("https://login.provider.test/authorize?state=secret", "set app.allow: [redirect-elsewhere]"),
        ("https://shop.example:8443/", "which is not served here"),
        ("https://shop.example.evil.test/", "set app.allow: [redirect-elsewhere]"),
        ("https://shop.example:eight/", "must lead to an address, leads to none"),
        ("http://[shop.example/", "must lead to an address, leads to none"),
    ],
)
def test_a_redirect_that_leaves_the_site_is_refused(location: str, said: str) -> None:
    """Nobody here can say whether something is there; nothing of a query is shown, it may be secret."""
    problem = looked({"/": to(location)})
    assert problem is not None
    assert said in problem.text
    assert problem.lasting
    assert "secret" not in problem.text


def test_a_redirect_that_leaves_the_site_may_be_what_is_meant() -> None:
    """A log-in at a provider's."""
    page = Page(path="/", statuses=("200",), elsewhere=True)
    assert looked({"/": to("/in"), "/in": to("https://login.provider.test/")}, page) is None


def page_of(body: str, *, status: int = 200, html: bool = True) -> Answer:
    """A page."""
    return Answer(status=status, body=body, html=html)


def unstyled_at(site: Site) -> list[str]:
    """What the page of a site lacks."""
    came = visit(site, DOMAIN, PAGE)
    assert isinstance(came, Visit)
    return unstyled(site, came, DOMAIN)


GONE = Answer(status=404)
NAMED = "/ names what a browser does not get: {}; was a build forgotten? What a build makes is left out of a release "
NAMED += "where .gitignore names it: name it in app.include"


@pytest.mark.parametrize(
    ("element", "asked"),
    [
        ('<link rel="stylesheet" href="/static/site.css">', "/static/site.css"),
        ("<LINK REL='preload StyleSheet' HREF=site.css />", "/site.css"),
        (
            '<script src="/static/site.js?v=1&amp;w=gr\u00f6\u00dfe#x" defer></script>',
            "/static/site.js?v=1&w=gr%C3%B6%C3%9Fe",
        ),
        ('<script src=" https://shop.example/site.js "></script>', "/site.js"),
        ('<script src="//shop.example:443/site.js"></script>', "/site.js"),
        ('<base href="/shop/"><base href="/not/"><script src="site.js"></script>', "/shop/site.js"),
        ('<script src="/site.js"></script><![broken[ <script src="/never.js">', "/site.js"),
        ('<script src="/site.js"></script><script src="/site.js#again"></script><script src="/cut.js', "/site.js"),
    ],
)
def test_a_stylesheet_or_script_of_the_site_that_is_not_there_is_said(element: str, asked: str) -> None:
    """However the page writes it; without its query, which may be secret."""
    site = Site({"/": page_of(element), asked: GONE})
    assert unstyled_at(site) == [NAMED.format(f"{asked.partition('?')[0]} (answers 404)")]
    assert [path for path, _ in site.asked] == ["/", asked]


@pytest.mark.parametrize(
    "element",
    [
        '<link rel="icon" href="/a.png"><link href="/b.css"><a href="/c.css">c</a><img src="/d.png">',
        '<script>document.write("<script src=/a.js>")</script><!-- <script src="/b.js"></script> -->',
        '<script src="https://cdn.test/a.js"></script><script src="//shop.example:8443/b.js"></script>',
        '<script src="data:text/javascript,1"></script><script src></script><script src="//[b.js"></script>',
        '<script src="//shop.example:eight/b.js"></script>',
    ],
)
def test_what_is_not_the_sites_own_is_not_asked_for(element: str) -> None:
    """Other elements, other names, and what is no address."""
    site = Site({"/": page_of(element)})
    assert (unstyled_at(site), len(site.asked)) == ([], 1)


@pytest.mark.parametrize("status", [200, 204, 304, 302])
def test_a_stylesheet_that_is_there_is_not_worth_a_word(status: int) -> None:
    """Of the page at the end of the redirects, beside which it is looked for."""
    page = page_of('<link rel="stylesheet" href="site.css">')
    site = Site({"/": to("/shop/home"), "/shop/home": page, "/shop/site.css": Answer(status=status)})
    assert unstyled_at(site) == []
    assert site.asked[-1][0] == "/shop/site.css"


def test_what_is_no_page_names_nothing() -> None:
    """A text may show how a stylesheet is named."""
    site = Site({"/": page_of('<link rel="stylesheet" href="/site.css">', html=False)})
    assert (unstyled_at(site), len(site.asked)) == ([], 1)


def test_ten_of_a_page_are_asked_for() -> None:
    """What is missing is one note, with how each fails."""

    class Hangs(Site):
        def __call__(self, path: str, cookies: Mapping[str, str]) -> Answer:
            if path == "/3.js":
                raise pycurl.error(28, "Operation timed out")
            return super().__call__(path, cookies)

    answers = {f"/{number}.js": Answer(status=200) for number in range(20)} | {
        "/0.js": GONE,
        "/9.js": page_of("", status=500),
    }
    site = Hangs(answers | {"/": page_of("".join(f'<script src="{path}"></script>' for path in answers))})
    missing = "/0.js (answers 404), /3.js (no answer: Operation timed out), /9.js (answers 500)"
    assert unstyled_at(site) == [NAMED.format(missing)]
    assert site.asked[-1][0] == "/9.js"


def test_a_slow_site_does_not_keep_the_report_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time of one answer nothing more of a page is asked for."""
    monkeypatch.setattr(health, "SECONDS", 0)
    came = Visit(url=f"https://{DOMAIN}/", answer=page_of('<script src="/slow.js"></script>'))
    site = Site({"/slow.js": GONE})
    ticks = iter([0.0, 0.1])
    monkeypatch.setattr(time, "monotonic", lambda: next(ticks))
    assert (unstyled(site, came, DOMAIN), site.asked) == ([], [])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (GONE, ""),
        (Answer(status=200), ""),
        (Answer(status=403), ""),
        (to("https://login.provider.test/"), ""),
        (to("/in/"), ": answered 500, an error of the app"),
        (Answer(status=500), ": answered 500, an error of the app"),
        (to(NOWHERE.path), ": must end within 5 redirects"),
    ],
)
def test_a_page_for_what_is_not_found_that_fails_is_said(answer: Answer, said: str) -> None:
    """As when 404.html names a static file that is not there: visitors get an error for each wrong link."""
    notes = fails_at_nothing(Site({NOWHERE.path: answer, "/in/": Answer(status=500)}), DOMAIN)
    assert len(notes) == bool(said)
    assert [
        note for note in notes if not note.startswith("the page for what is not found fails itself: /no-such")
    ] == []
    assert [note for note in notes if said not in note] == []


def test_a_page_of_any_length_is_an_answer(tmp_path: Path) -> None:
    """Of which the beginning is kept; curl hands it over in pieces, and must not take the rest for refused."""
    length = 300_000

    def serve() -> None:
        visitor, _ = listener.accept()
        with visitor:
            visitor.recv(65536)
            head = f"HTTP/1.1 200 OK\r\nContent-Type: Text/HTML; charset=utf-8\r\nContent-Length: {length}\r\n\r\n"
            visitor.sendall((head + "x" * length).encode())

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "nginx"))
        listener.listen()
        threading.Thread(target=serve, daemon=True).start()
        answer = asking(DOMAIN, str(tmp_path / "nginx"))("/", {})
    assert answer == Answer(status=200, html=True, body="x" * LARGEST)


def test_a_site_that_answers_no_more_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has served a moment before; that is for the next look at it, and ends no release."""
    monkeypatch.setitem(LISTENERS, "current", str(tmp_path / "nobody"))
    [note] = shortcomings(DOMAIN, PAGE)
    assert note.startswith("the page answered, then did not: /: no answer: ")
    assert "connect" in note
