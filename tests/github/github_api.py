"""The few calls of GitHub's REST API that the reports need, on the loopback interface, and strict about them.

Sources: docs.github.com/en/rest/issues/comments and /issues (routes, fields, pages of `per_page`, the Link header),
/en/rest/using-the-rest-api/rate-limits-for-the-rest-api (403 or 429 with Retry-After). Assumed: the longest body is
65536 characters, and a label that can't be given is dropped.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

REPOSITORY = "someone/site"
TOKEN = "ghs_this-is-no-token"
PREFIX = "/api/v3"  # as on GitHub Enterprise Server, so that the address of the API is not only a host
LONGEST_BODY = 65_536


@dataclass(kw_only=True)
class Fault:
    """What the next request of a method gets instead of its answer; `done`: after it was carried out."""

    method: str
    status: int
    message: str = "Server Error"
    headers: dict[str, str] = field(default_factory=dict)
    done: bool = False


@dataclass(kw_only=True)
class State:
    """What is in the repository, and how it behaves."""

    base: str = ""
    comments: dict[int, list[dict[str, Any]]] = field(default_factory=lambda: {7: []})  # of each pull request
    issues: list[dict[str, Any]] = field(default_factory=list)
    may_write: set[str] = field(default_factory=lambda: {"comments", "issues"})
    labels: set[str] = field(default_factory=lambda: {"drift"})
    page: int = 2  # entries; smaller than what is asked for, so that everything is on several pages
    faults: list[Fault] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)  # method and path
    elsewhere: str = ""  # an address in place of the next page's

    @property
    def writes(self) -> list[str]:
        """Methods of the calls that change something."""
        return [call.split()[0] for call in self.calls if not call.startswith("GET")]

    def number(self) -> int:
        """Return an id that nothing has."""
        return 1000 + len(self.issues) + sum(len(comments) for comments in self.comments.values())

    def comment(self, author: str, body: str) -> None:
        """Somebody comments on pull request 7."""
        self.comments[7].append(self.made(author, body))

    def made(self, author: str, body: str) -> dict[str, Any]:
        """Return a comment."""
        number = self.number()
        return {"id": number, "body": body, "user": {"login": author}, "html_url": f"https://github.example/c{number}"}

    def issue(self, author: str, body: str, **fields: object) -> dict[str, Any]:
        """Somebody opens an issue."""
        number = self.number()
        link = f"https://github.example/i{number}"
        made = {"number": number, "body": body, "user": {"login": author}, "html_url": link, "state": "open"}
        self.issues.append(made | {"labels": [{"name": "drift"}]} | fields)
        return self.issues[-1]


class Refused(Exception):  # noqa: N818 - an answer, no error of this program
    """An answer that is not a success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """One request."""

    state: State

    def do_GET(self) -> None:
        """Lists."""
        self._answer()

    def do_POST(self) -> None:
        """New things."""
        self._answer()

    def do_PATCH(self) -> None:
        """Changes."""
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's
        """Say nothing."""

    def _answer(self) -> None:
        self.state.calls.append(f"{self.command} {self.path}")
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        fault = next((fault for fault in self.state.faults if fault.method == self.command), None)
        if fault:
            self.state.faults.remove(fault)
        headers: dict[str, str] = {}
        answer: object
        status, answer = 0, None
        if fault is None or fault.done:
            try:
                self._check()
                status, answer = self._route(body, headers)
            except Refused as refused:
                status, answer = refused.status, {"message": str(refused)}
        if fault:
            status, answer, headers = fault.status, {"message": fault.message}, fault.headers
        content = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _check(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Refused(401, "Bad credentials")
        if not self.headers.get("User-Agent"):
            raise Refused(403, "Request forbidden by administrative rules.")
        if self.headers.get("X-GitHub-Api-Version") != "2022-11-28":
            raise Refused(400, "not a version of this API")

    def _route(self, body: dict[str, Any], headers: dict[str, str]) -> tuple[int, object]:
        parts = urlsplit(self.path)
        if not parts.path.startswith(f"{PREFIX}/repos/{REPOSITORY}/"):
            raise Refused(404, "Not Found")
        call = f"{self.command} {parts.path.removeprefix(f'{PREFIX}/repos/{REPOSITORY}')}"
        query = {name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
        state = self.state
        if (found := re.fullmatch(r"(GET|POST) /issues/(\d+)/comments", call)) and int(found[2]) in state.comments:
            comments = state.comments[int(found[2])]
            if found[1] == "GET":
                return 200, self._page(comments, query, headers, set())
            self._may("comments", body, {"body"})
            comments.append(state.made("github-actions[bot]", body["body"]))
            return 201, comments[-1]
        if found := re.fullmatch(r"PATCH /issues/comments/(\d+)", call):
            self._may("comments", body, {"body"})
            every = [comment for comments in state.comments.values() for comment in comments]
            return 200, self._changed(every, "id", int(found[1]), body)
        if call == "GET /issues":
            labelled = [
                issue for issue in state.issues if query["labels"] in {label["name"] for label in issue["labels"]}
            ]
            kept = [issue for issue in labelled if issue["state"] == query["state"]]
            return 200, self._page(kept, query, headers, {"state", "labels"})
        if call == "POST /issues":
            self._may("issues", body, {"title", "body", "labels"})
            given = [{"name": label} for label in body["labels"] if label in state.labels]
            return 201, state.issue("github-actions[bot]", body["body"], title=body["title"], labels=given)
        if found := re.fullmatch(r"PATCH /issues/(\d+)", call):
            self._may("issues", body, {"body", "state", "state_reason"})
            return 200, self._changed(state.issues, "number", int(found[1]), body)
        raise Refused(404, "Not Found")

    def _page(
        self, items: list[dict[str, Any]], query: dict[str, str], headers: dict[str, str], known: set[str]
    ) -> list[dict[str, Any]]:
        if set(query) - known - {"per_page", "page"}:
            raise Refused(400, f"unknown parameter in {query}")
        size, page = min(self.state.page, int(query["per_page"])), int(query.get("page", 1))
        if page * size < len(items):
            path = self.path.split("&page=")[0]
            following = self.state.elsewhere or f"{self.state.base}{path.removeprefix(PREFIX)}&page={page + 1}"
            headers["Link"] = f'<{self.state.base}/first>; rel="first", <{following}>; rel="next"'
        return items[(page - 1) * size : page * size]

    def _may(self, what: str, body: dict[str, Any], fields: set[str]) -> None:
        if what not in self.state.may_write:
            raise Refused(403, "Resource not accessible by integration")
        if not body or set(body) - fields:
            raise Refused(422, f"Validation Failed: fields {sorted(body)}, known are {sorted(fields)}")
        if len(body.get("body", "")) > LONGEST_BODY:
            raise Refused(422, f"Validation Failed: body is too long (maximum is {LONGEST_BODY} characters)")

    def _changed(self, items: list[dict[str, Any]], key: str, value: int, body: dict[str, Any]) -> dict[str, Any]:
        for item in items:
            if item[key] == value:
                item.update(body)
                return item
        raise Refused(404, "Not Found")


@contextmanager
def serving() -> Iterator[State]:
    """Run the server."""
    state = State()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"state": state}))
    state.base = f"http://127.0.0.1:{server.server_address[1]}{PREFIX}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()
