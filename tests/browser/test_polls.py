"""The polls app as its visitors and its editor meet it, in a real browser, over the world's real network."""

from __future__ import annotations

import re
import secrets
import struct
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Error, Page, Playwright, expect

from tests.browser.visitor import Visitor, chromium

if TYPE_CHECKING:
    from tests.worlds import Deployment

pytestmark = pytest.mark.full

SAMPLE = "What makes a deployment a good one?"
ANSWER = "I can take it back"
FONT = "Bricolage Grotesque"


def png(*, width: int, height: int) -> bytes:
    """Draw a picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = (b"\0" + b"\x1f\x6f\x54" * width) * height
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def votes(page: Page, answer: str) -> int:
    """Read an answer's votes off the result."""
    line = page.get_by_role("listitem").filter(has_text=answer)
    found = re.search(r"(\d+) votes?", line.inner_text())
    assert found, line.inner_text()
    return int(found[1])


def natural_width(page: Page, alt: str) -> int:
    """Width of a picture's own pixels; 0 when it could not be shown."""
    width = page.get_by_alt_text(alt, exact=True).evaluate("image => image.decode().then(() => image.naturalWidth)")
    return int(width)


def test_vote_is_seen_in_the_result_and_not_counted_again_by_a_reload(deployed: Deployment, visitor: Visitor) -> None:
    """The whole way of a vote: index, question, form, redirect, bars."""
    page = visitor.open(deployed.url)
    visitor.follow(f"Result of: {SAMPLE}")
    before = votes(page, ANSWER)

    visitor.open(deployed.url)
    visitor.follow(SAMPLE)
    page.get_by_label(ANSWER).check()
    visitor.press("Vote")

    assert urlsplit(page.url).path.endswith("/results/")
    expect(page.get_by_role("status")).to_have_text(f"Your vote for “{ANSWER}” is counted.")
    assert votes(page, ANSWER) == before + 1
    page.reload(wait_until="networkidle")
    assert votes(page, ANSWER) == before + 1

    line = page.get_by_role("listitem").filter(has_text=ANSWER)
    share = line.evaluate(
        "line => [line.querySelector('.fill').getBBox().width / line.querySelector('.track').getBBox().width,"
        " parseInt(line.querySelector('strong').textContent)]"
    )
    assert share[0] * 100 == pytest.approx(share[1], abs=0.6)


def test_stylesheet_and_font_come_from_the_cdn_and_apply(deployed: Deployment, visitor: Visitor) -> None:
    """The font is loaded across origins, so it applies only when CORS allows it."""
    page = visitor.open(deployed.url)
    cdn = str(deployed.outputs["cdn_endpoint"])
    static = [response for response in visitor.responses if "/static/" in response.url]

    assert {urlsplit(response.url).hostname for response in static} == {cdn}
    assert {Path(urlsplit(response.url).path).suffix for response in static} == {".css", ".svg", ".woff2"}
    assert all(re.search(r"\.[0-9a-f]{12}\.\w+$", response.url) for response in static)
    [font] = [response for response in static if response.url.endswith(".woff2")]
    assert font.header_value("access-control-allow-origin") == deployed.url.rstrip("/")

    assert page.evaluate("[...document.fonts].map(face => [face.family, face.status])") == [[FONT, "loaded"]]
    assert page.evaluate(f"document.fonts.check('16px \"{FONT}\"')")
    style = page.evaluate(
        "(({fontFamily, backgroundColor}) => ({fontFamily, backgroundColor}))(getComputedStyle(document.body))"
    )
    assert style["fontFamily"].startswith(f'"{FONT}"')
    assert style["backgroundColor"] == "rgb(251, 247, 239)"


def test_editor_asks_a_question_with_a_picture_and_visitors_see_it(deployed: Deployment, visitor: Visitor) -> None:
    """Admin, superuser of the first release, upload to the private Space, signed URL."""
    text = f"Which picture number {secrets.token_hex(4)}?"
    page = visitor.open(f"{deployed.url}/admin/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(str(deployed.outputs["superuser_password"]))
    visitor.press("Log in")

    visitor.open(f"{deployed.url}/admin/polls/question/add/")
    page.get_by_label("Question:").fill(text)
    page.get_by_label("Image:").set_input_files(
        {"name": "holiday.png", "mimeType": "image/png", "buffer": png(width=640, height=360)}
    )
    page.get_by_label("Image description:").fill("A green field")
    page.locator("#id_choices-0-text").fill("This one")
    page.locator("#id_choices-1-text").fill("Another one")
    visitor.press("Save and continue editing")
    assert natural_width(page, "A green field") == 640
    change = page.url

    visitor.open(f"{deployed.url}/admin/polls/question/")
    assert natural_width(page, "A green field") == 640

    visitor.open(deployed.url)
    visitor.follow(text)
    assert natural_width(page, "A green field") == 640
    source = urlsplit(page.get_by_alt_text("A green field").get_attribute("src") or "")
    buckets = deployed.outputs["buckets"]
    assert isinstance(buckets, dict)
    assert (source.hostname or "").startswith(f"{buckets['media']}.")
    assert "X-Amz-Signature" in parse_qs(source.query)
    # The same object without the signature.
    unsigned = source._replace(query="").geturl()
    answer = deployed.exec("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", unsigned)
    assert answer.stdout == "403"

    page.get_by_label("This one").check()
    visitor.press("Vote")
    assert votes(page, "This one") == 1

    # Leave the site as it was.
    visitor.open(change)
    visitor.follow("Delete")
    visitor.press("Yes, I’m sure")  # noqa: RUF001 - as Django writes it


def test_page_fits_a_small_window_in_the_dark(browser: Browser, deployed: Deployment) -> None:
    """A phone of 320 pixels shows everything without scrolling sideways, and follows the system's colours."""
    context = browser.new_context(viewport={"width": 320, "height": 568}, color_scheme="dark")
    visitor = Visitor(context.new_page())
    for path in ("/", "/questions/1/", "/questions/1/results/"):
        page = visitor.open(deployed.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 21, 18)"
    context.close()
    assert visitor.problems == []


def test_visitor_notices_what_goes_wrong(browser: Browser, deployed: Deployment) -> None:
    """A control: the other tests rest on these problems being seen."""
    context = browser.new_context()
    visitor = Visitor(context.new_page())
    page = visitor.open(f"{deployed.url}/no/such/page")
    expect(page.get_by_role("heading", level=1)).to_have_text("There is nothing at this address.")
    with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
        page.evaluate("document.body.setAttribute('style', 'color: red')")
    with page.expect_event("pageerror"):
        page.evaluate("setTimeout(() => { throw new Error('on purpose') })")
    context.close()
    seen = "\n".join(visitor.problems)
    for problem in ("status 404: ", "console: Applying inline style violates", "uncaught: on purpose"):
        assert problem in seen


def test_browser_that_does_not_know_the_worlds_authorities_refuses_the_site(
    playwright: Playwright, deployed: Deployment
) -> None:
    """A control: certificates are verified, not ignored."""
    with (
        tempfile.TemporaryDirectory(prefix="browser-") as home,
        chromium(playwright, home=Path(home), proxy_port=deployed.world.proxy_port) as stranger,
    ):
        page = stranger.new_page()
        with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
            page.goto(deployed.url)
