"""What visitors ask for: the page of a question, a page without a query, and a vote."""

import base64
import html
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.web.site import URL, Site

QUESTION = f"{URL}/questions/1/"
FIELDS = re.compile(r'name="(csrfmiddlewaretoken|choice)" value="([^"]+)"')


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A kind of request, and the file of vegeta's targets for it, which are asked by turns."""

    name: str
    says: str
    targets: Path


@contextmanager
def pages(site: Site) -> Iterator[dict[str, Page]]:
    """Write the targets; a vote carries the cookie and the token that the question's page gave to one visitor."""
    with tempfile.TemporaryDirectory(prefix="throughput-") as folder:

        def page(name: str, says: str, targets: list[dict[str, object]]) -> Page:
            file = Path(folder) / f"{name.replace(' ', '-')}.json"
            file.write_text("".join(json.dumps(target) + "\n" for target in targets))
            return Page(name=name, says=says, targets=file)

        found = (
            page("vote page", "a question with its choices and the form", [{"method": "GET", "url": QUESTION}]),
            page("no query", "the admin's login, of Django alone", [{"method": "GET", "url": f"{URL}/admin/login/"}]),
            page("vote", "the form, sent; answered by a redirect", votes(site.ask("--include", QUESTION))),
        )
        yield {page.name: page for page in found}


def votes(answer: str) -> list[dict[str, object]]:
    """Return a target for each choice of the form in an answer, of which the headers are needed, too."""
    [cookie] = re.findall(r"^set-cookie: (csrftoken=[^;]+)", answer, re.MULTILINE | re.IGNORECASE)
    fields = [(name, html.unescape(value)) for name, value in FIELDS.findall(answer)]
    [token] = [value for name, value in fields if name == "csrfmiddlewaretoken"]
    header = {"Cookie": [cookie], "Referer": [QUESTION], "Content-Type": ["application/x-www-form-urlencoded"]}
    return [
        {
            "method": "POST",
            "url": f"{QUESTION}vote/",
            "header": header,
            "body": base64.b64encode(urlencode({"csrfmiddlewaretoken": token, "choice": choice}).encode()).decode(),
        }
        for name, choice in fields
        if name == "choice"
    ]
