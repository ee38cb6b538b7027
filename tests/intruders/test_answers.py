"""What answers give away or forget to say: error pages, headers, cookies."""

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from sandbox.machines.machine import Machine
from tests.internet_side import python
from tests.intruders.hunt import Secrets, found_in
from tests.intruders.visits import status, wait_for
from tests.worlds import Deployment

pytestmark = pytest.mark.full


def page(deployed: Deployment, path: str, *argv: str) -> tuple[str, dict[str, str], str]:
    """Status, headers in lower case (cookies joined by newlines) and text of an answer."""
    text = deployed.exec("curl", "--silent", "--include", "--http1.1", *argv, f"{deployed.url}{path}").stdout
    head, _, body = text.partition("\n\n")
    line, *lines = head.splitlines()
    headers: dict[str, str] = {}
    for name, _, value in (line.partition(": ") for line in lines):
        headers[name.lower()] = "\n".join(filter(None, (headers.get(name.lower()), value)))
    return line.split(" ")[1], headers, body


@pytest.fixture
def broken(deployed: Deployment, cluster: Machine) -> Iterator[None]:
    """The pool is stopped, so that a page fails."""
    cluster.run(["systemctl", "stop", "pgbouncer"])
    yield
    cluster.run(["systemctl", "start", "pgbouncer"])
    wait_for(lambda: status(deployed), "200")


def apology(text: str) -> str:
    """Make sure that a page of ours says sorry and nothing about its inside; return its number."""
    for inside in ("Traceback", "DEBUG", "django", "Exception", "psycopg", "/srv/app", "mysite", "settings", "nginx/"):
        assert inside not in text
    return text.partition('<p class="kicker">')[2].partition("<")[0]


@pytest.mark.usefixtures("broken")
def test_a_failing_page_tells_nothing(deployed: Deployment, secrets: Secrets) -> None:
    """500: the site's own words, no trace and no name of anything inside."""
    found, _, text = page(deployed, "/")
    assert (found, apology(text)) == ("500", "500")
    assert found_in(text, secrets) == set()


def test_refusals_tell_nothing(deployed: Deployment, secrets: Secrets) -> None:
    """404, a POST without token, a method that is not allowed, too long a body or a header: no trace, no secret."""
    asked = {
        "/nothing": ("404", "404"),
        "/admin/login/": ("403", "403"),
        "/questions/1/vote/": ("403", "403"),
    }
    for path, expected in asked.items():
        found, _, text = page(deployed, path, *(() if path == "/nothing" else ("--data", "x=y")))
        assert (path, found, apology(text)) == (path, *expected)
        assert found_in(text, secrets) == set()
    for argv, expected_status in (
        (("--request", "TRACE"), "405"),
        (("--header", "Content-Length: 99999999", "--data", "x"), "413"),
        (("--header", f"X-Long: {'x' * 9000}"), "400"),
        (("--header", "Host: evil.example"), "421"),
    ):
        found, headers, text = page(deployed, "/", *argv)
        assert (found, headers["server"]) == (expected_status, "nginx")
        assert apology(text) == ""
        assert found_in(text, secrets) == set()


@pytest.mark.parametrize("path", ["/", "/admin/login/", "/nothing", "/questions/1/"])
def test_pages_have_the_headers_that_browsers_act_on(deployed: Deployment, secrets: Secrets, path: str) -> None:
    """HTTPS for two years, no guessing of types, no frame, no referrer to others, no code but ours; no version."""
    _, headers, text = page(deployed, path)
    seconds = int(headers["strict-transport-security"].removeprefix("max-age="))
    assert seconds >= 2 * 365 * 24 * 3600
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "*" not in policy
    assert headers["server"] == "nginx"
    assert not headers.keys() & {"x-powered-by", "via", "x-runtime", "x-generator"}
    assert found_in(json.dumps(headers) + text, secrets) == set()


def test_cookies_are_sent_over_https_and_to_us_only(deployed: Deployment) -> None:
    """The token of a form, the session of an administrator and a message: Secure, HttpOnly and SameSite."""
    answer = python(
        deployed.world,
        """
import http.cookiejar, re, urllib.parse
jar = http.cookiejar.CookieJar()
opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar), NoRedirect())

def field(name, text):
    "Value of a field of a form, the first of this name."
    return re.search(f'name="{name}" value="([^"]+)"', text)[1]

def submit(page, path, **values):
    "Fill in a page's form; return the status of the answer."
    text = opener.open(given["url"] + page, timeout=60).read().decode()
    names = {name: value or field(name, text) for name, value in {"csrfmiddlewaretoken": "", **values}.items()}
    request = urllib.request.Request(
        given["url"] + path, urllib.parse.urlencode(names).encode(), {"Referer": given["url"] + page}
    )
    try:
        return opener.open(request, timeout=60).status
    except urllib.error.HTTPError as error:
        return error.status

answer = [
    submit("/admin/login/", "/admin/login/", username="admin", password=given["password"]),
    submit("/questions/1/", "/questions/1/vote/", choice=""),
    {cookie.name: [cookie.secure, cookie.domain, *sorted(cookie._rest.items())] for cookie in jar},
]
""",
        url=deployed.url,
        password=deployed.outputs["superuser_password"],
    )
    ours = [True, urlsplit(deployed.url).hostname, ["HttpOnly", None], ["SameSite", "Lax"]]
    # Both forms were taken: they lead on.
    assert answer == [302, 302, dict.fromkeys(("csrftoken", "sessionid", "messages"), ours)]
