"""Projects that other people wrote, deployed by settings alone: tests/projects/README.md."""

import hashlib
import json
import re

import pytest

from sandbox.machines import machine
from sandbox.world.world import INTERNET_SIDE
from tests.internet_side import python
from tests.pulumi_stack import PulumiStack, Secret, Settings
from tests.worlds import Deployment

pytestmark = pytest.mark.full

NOTES: Settings = {
    "app": {
        "path": "tests/projects/notes",
        "wsgi": "config.wsgi:application",
        "settings": "config.settings",
        "allow": ["insecure-cookies"],  # as startproject leaves them, and many after it
        "env": {
            "DJANGO_DEBUG": "false",
            "DJANGO_SECRET_KEY": "${SECRET_KEY}",
            "DJANGO_ALLOWED_HOSTS": "${ALLOWED_HOSTS}",
            "DB_HOST": "${DATABASE_HOST}",
            "DB_PORT": "${DATABASE_PORT}",
            "DB_NAME": "${DATABASE_NAME}",
            "DB_USER": "${DATABASE_USER}",
            "DB_PASSWORD": "${DATABASE_PASSWORD}",
        },
    }
}
TOKEN = "a token of the payment service"
FILES: Settings = {
    "app": {
        "path": "tests/projects/files",
        "wsgi": "server:app",
        "settings": "shop.settings.production",
        "python": "3.13",  # by its name; it is the Droplet's own, for others can't be downloaded here
        "env": {"APP_KEY": "${SECRET_KEY}", "HOSTS": "${ALLOWED_HOSTS}"},
    },
    "app.secrets.PAYMENT_TOKEN": Secret(TOKEN),
    "web.packages": ["libmagic1t64"],
}

# A visitor: reads a page with its stylesheet, and sends a form.
VISIT = """
import http.cookiejar, urllib.parse
jar = http.cookiejar.CookieJar()
browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))

def read(url, data=None):
    request = urllib.request.Request(url, data=data, headers={"Referer": given["url"] + "/"})
    with browser.open(request, timeout=30) as answer:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return answer.status, headers, answer.read().decode()
"""


def test_whitenoise_parts_of_an_address_and_a_redirect_to_https(deployed: Deployment) -> None:
    """A form is kept in PostgreSQL by the role `app`; the stylesheet has its hashed name, and may be kept for ever.

    Its page is an error for a visitor without an address.
    """
    stack = PulumiStack(deployed.world)
    stack.up(settings=NOTES)
    answer = python(
        deployed.world,
        VISIT
        + """
import re
_, _, page = read(given["url"] + "/")
token = re.search(r'name="csrfmiddlewaretoken" value="(\\w+)"', page)[1]
_, _, kept = read(given["url"] + "/", urllib.parse.urlencode({"text": "milk", "csrfmiddlewaretoken": token}).encode())
style = re.search(r'href="(/static/[^"]+)"', page)[1]
answer = {"kept": kept, "style": style, "styled": read(given["url"] + style)}
""",
        url=deployed.url,
    )
    assert "<li>milk</li>" in answer["kept"]
    # The agent's look came by a socket, and met the same page.
    assert f"You come from {INTERNET_SIDE} {INTERNET_SIDE}<" in answer["kept"]
    assert re.fullmatch(r"/static/notes/notes\.[0-9a-f]{12}\.css", answer["style"])
    status, headers, style = answer["styled"]
    assert (status, style) == (200, "body { font-family: serif; }\n")
    assert headers["cache-control"] == "public, max-age=31536000, immutable"
    assert headers["strict-transport-security"] == "max-age=63072000"
    health = json.loads(deployed.exec("curl", "--silent", f"{deployed.url}/healthz").stdout)
    assert health["release"] == stack.outputs()["release"]


@pytest.mark.prove
def test_a_debian_package_a_secret_and_static_files_with_plain_names(deployed: Deployment) -> None:
    """The package makes another Droplet; Nginx serves what collectstatic left in the project's own folder."""
    stack = PulumiStack(deployed.world)
    steps = [step.what for step in stack.up(settings=FILES)]
    assert "create-replacement web-1" in steps
    answer = python(
        deployed.world,
        VISIT
        + """
first, second = read(given["url"] + "/")[2], read(given["url"] + "/")[2]
answer = {"first": first, "second": second, "style": read(given["url"] + "/static/shop.css"),
          "about": json.loads(read(given["url"] + "/about")[2])}
""",
        url=deployed.url,
    )
    first, second = (int(re.findall(r"Visit (\d+)", answer[name])[0]) for name in ("first", "second"))
    assert second == first + 1
    status, headers, style = answer["style"]
    assert (status, style, headers["cache-control"]) == (200, "p { color: teal; }\n", "no-cache")
    assert answer["about"] == {"token": hashlib.sha256(TOKEN.encode()).hexdigest(), "type": "application/pdf"}
    # The release agent did not let the token out into the journal, nor Pulumi into plain state.
    [droplet] = stack.outputs()["droplet_ids"]
    assert TOKEN not in machine.load_machine(deployed.world, f"d{droplet}").journal("--output=cat")
    assert TOKEN not in stack.run("stack", "export").stdout
