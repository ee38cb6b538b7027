"""Keeps one comment of a pull request, or one issue, saying what a report says.

Standard library only: the job that may write runs this file from the base branch, with nothing installed.
"""

import argparse
import http.client
import json
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

LONGEST_BODY = 65_536  # characters; GitHub answers 422 to more
LARGEST_FILE = 8 * 1024 * 1024  # bytes
BOT = "github-actions[bot]"  # the author of what a workflow's GITHUB_TOKEN writes
TIMEOUT = 30  # seconds, for one request
ATTEMPTS = 4
LONGEST_WAIT = 90  # seconds between two attempts
LIMITED_WAIT = 60  # seconds, when GitHub limits the rate and doesn't say for how long: its own advice

LEFT_OUT = "\n[… left out: GitHub takes 65536 characters …]\n"
FOLDED = "\n<details><summary>The full log</summary>\n\n{fence}text\n{log}\n{fence}\n\n</details>\n"
CUT = "\n\n**The report ends here: GitHub takes 65536 characters. All of it is in the run's artifacts.**\n"

# A terminal's colours, and every other control character but tab and newline.
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_NEXT = re.compile(r'<([^>]+)>;\s*rel="next"')
_MARKER = re.compile(r"[a-z0-9]+(?:: [a-z0-9]+)*")

TO_DO = {
    401: "the token is wrong, or has expired: GITHUB_TOKEN must be the job's own `github.token`",
    403: "the job needs `permissions:` of `pull-requests: write` for a comment, of `issues: write` for an issue",
    404: "the repository or the number is wrong, or the token may not even see it",
    410: "issues are switched off in the repository's settings",
    422: "GitHub does not take the text; see its message",
}


class GitHubError(Exception):
    """GitHub did not do what was asked; the message says why and what to do."""


class UnavailableError(GitHubError):
    """The same may work later: after `wait` seconds, or after some if that is None."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class GitHub:
    """The few calls of the REST API that are needed; redirections are not followed, since the token would go along."""

    def __init__(self, api: str, token: str) -> None:
        parts = urlsplit(api.rstrip("/"))
        local = parts.hostname in {"127.0.0.1", "localhost"}
        if not parts.netloc or parts.scheme not in ({"http", "https"} if local else {"https"}):
            raise GitHubError(f"GITHUB_API_URL: must be an https address, got {api!r}")
        self._connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._prefix, self._base = parts.netloc, parts.path, parts.geturl()
        self._token = token

    def all(self, path: str) -> Iterator[dict[str, Any]]:
        """Every item of a list, page after page."""
        following: str | None = f"{path}{'&' if '?' in path else '?'}per_page=100"
        while following:
            items, link = self._call("GET", following)
            yield from items
            found = _NEXT.search(link)
            if found and not found[1].startswith(f"{self._base}/"):
                raise GitHubError(
                    f"GET {path}: the next page is elsewhere ({found[1]}), and the token must not go there"
                )
            following = found[1].removeprefix(self._base) if found else None

    def write(self, method: str, path: str, body: dict[str, object]) -> dict[str, Any]:
        """Create or change something; return what it is now."""
        written: dict[str, Any] = self._call(method, path, body)[0]
        return written

    def _call(self, method: str, path: str, body: dict[str, object] | None = None) -> tuple[Any, str]:
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self._token}",
            "User-Agent": "django-do",  # without one GitHub answers 403
            "X-GitHub-Api-Version": "2022-11-28",
        }
        connection = self._connect(self._host, timeout=TIMEOUT)
        try:
            connection.request(method, f"{self._prefix}{path}", None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(
                f"{method} {self._base}{path}: no answer ({error or type(error).__name__})"
            ) from error
        finally:
            connection.close()
        if answer.status not in {200, 201}:
            raise refusal(f"{method} {self._base}{path}", answer, text)
        return json.loads(text), answer.getheader("Link", "")


def refusal(what: str, answer: http.client.HTTPResponse, text: str) -> GitHubError:
    """Say what GitHub's answer means."""
    try:
        said = json.loads(text)
        message = " ".join([str(said["message"]), *(json.dumps(error) for error in said.get("errors", []))])
    except (ValueError, KeyError, TypeError):  # a page of some proxy on the way
        message = text.strip()[:200] or answer.reason
    line = f"{what}: {answer.status} {message}"
    if answer.status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnavailableError(line)
    limited = "rate limit" in message.lower() or answer.getheader("x-ratelimit-remaining") == "0"
    if answer.status == http.HTTPStatus.TOO_MANY_REQUESTS or (answer.status == http.HTTPStatus.FORBIDDEN and limited):
        return UnavailableError(line, wait_of(answer))
    if todo := TO_DO.get(answer.status):
        line = f"{line}; {todo}"
    return GitHubError(line)


def wait_of(answer: http.client.HTTPResponse) -> float:
    """How long GitHub wants to be left alone, in seconds."""
    if (after := answer.getheader("Retry-After", "")).isdecimal():
        return float(after)
    if (reset := answer.getheader("x-ratelimit-reset", "")).isdecimal():
        return max(1.0, float(reset) - time.time())
    return LIMITED_WAIT


def patiently(operation: Callable[[], str], sleep: Callable[[float], None] = time.sleep) -> str:
    """Do it, again if need be.

    The whole of it, not the request that failed: when only the answer was lost, what it should have made is there.
    """
    for attempt in range(ATTEMPTS):
        try:
            return operation()
        except UnavailableError as error:
            wait = 2.0**attempt if error.wait is None else error.wait
            if attempt == ATTEMPTS - 1 or wait > LONGEST_WAIT:
                raise GitHubError(f"{error}; given up after {attempt + 1} attempts, run the job again later") from error
            sys.stderr.write(f"{error}; trying again in {wait:.0f} s\n")
            sleep(wait)
    raise AssertionError("the last attempt returns or raises")


@dataclass(frozen=True, kw_only=True, slots=True)
class Board:
    """The comments and issues of one repository that this program keeps up to date."""

    github: GitHub
    repository: str  # owner/name
    author: str = BOT

    def comment(self, number: int, body: str) -> str:
        """Make the one comment of a pull request say this; return what was done."""
        comments = f"{self._issues}/{number}/comments"
        found = self._own(comments, body)
        if found is None:
            return self._write("created", "POST", comments, body=body)[0]
        if same(found["body"], body):
            return f"unchanged {found['html_url']}"
        return self._write("updated", "PATCH", f"{self._issues}/comments/{found['id']}", body=body)[0]

    def issue(self, title: str, label: str, body: str) -> str:
        """Make the one open issue say this; return what was done."""
        found = self._own(self._open(label), body)
        if found is None:
            done, made = self._write("created", "POST", self._issues, title=title, body=body, labels=[label])
            if label not in {given["name"] for given in made["labels"]}:
                # GitHub drops labels silently; without it the next run would not find this issue and open another.
                raise GitHubError(f"{done}, but without its label: create the label {label!r} and close that issue")
            return done
        if same(found["body"], body):
            return f"unchanged {found['html_url']}"
        return self._write("updated", "PATCH", f"{self._issues}/{found['number']}", body=body)[0]

    def close(self, label: str, marked: str) -> str:
        """Close the open issue, if there is one; return what was done."""
        found = self._own(self._open(label), marked)
        if found is None:
            return "none open"
        number = found["number"]
        return self._write("closed", "PATCH", f"{self._issues}/{number}", state="closed", state_reason="completed")[0]

    @property
    def _issues(self) -> str:
        return f"/repos/{self.repository}/issues"

    def _open(self, label: str) -> str:
        return f"{self._issues}?state=open&labels={quote(label)}"

    def _write(self, done: str, method: str, path: str, **fields: object) -> tuple[str, dict[str, Any]]:
        made = self.github.write(method, path, fields)
        return f"{done} {made['html_url']}", made

    def _own(self, path: str, body: str) -> dict[str, Any] | None:
        """Find what begins with the same marker and is ours: anybody may write a comment that has the marker in it."""
        marker = first_line(body)
        for item in self.github.all(path):
            ours = (item.get("user") or {}).get("login") == self.author and "pull_request" not in item
            if ours and first_line(item.get("body") or "") == marker:
                return item
        return None


def first_line(text: str) -> str:
    """Return the line that has the marker."""
    return text.split("\n", 1)[0].rstrip()


def same(there: str, wanted: str) -> bool:
    """Whether both texts are the same to a reader; GitHub keeps neither the kind of newline nor the last one."""
    return there.replace("\r\n", "\n").strip() == wanted.strip()


def body_of(marker: str, report: str = "", log: str = "", about: str = "") -> str:
    """Put together what GitHub shows: the marker (which it doesn't), the report, and the log folded."""
    if not _MARKER.fullmatch(marker):
        raise GitHubError(f"--marker: must be words such as `preview: dev`, got {marker!r}")
    text = f"<!-- django-do {marker} -->\n" + "\n\n".join(part for part in (about, report.strip()) if part) + "\n"
    if len(text) > LONGEST_BODY:
        return cut(text, LONGEST_BODY)
    if not log.strip():
        return text
    fence = "`" * max(3, *(len(ticks) + 1 for ticks in re.findall("`+", log) or [""]))
    room = LONGEST_BODY - len(text) - len(FOLDED.format(fence=fence, log=""))
    if room < 2 * len(LEFT_OUT):
        return text
    return text + FOLDED.format(fence=fence, log=shortened(log.strip("\n"), room))


def shortened(log: str, room: int) -> str:
    """Leave out the middle: how it began and, twice as much, how it ended."""
    if len(log) <= room:
        return log
    kept = room - len(LEFT_OUT)
    return log[: kept // 3] + LEFT_OUT + log[len(log) - (kept - kept // 3) :]


def cut(text: str, room: int) -> str:
    """End a report early, at a line, and close what it has opened."""
    closing = "\n```\n" + "\n</details>" * text.count("<details")
    kept = text[: room - len(CUT) - len(closing)].rpartition("\n")[0]
    if len(re.findall(r"^```", kept, re.MULTILINE)) % 2:
        kept += "\n```\n"
    return kept + "\n</details>" * (kept.count("<details") - kept.count("</details>")) + CUT


def read(path: Path) -> str:
    """Read a report as text without control characters.

    It came out of an archive that a pull request's code has made: a link in its place could name a file of this
    machine, and a comment would show it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise GitHubError(f"{path}: can't be read as a plain file ({error.strerror})") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise GitHubError(f"{path}: must be a plain file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise GitHubError(f"{path}: must have {LARGEST_FILE} bytes at most")
    return _CONTROLS.sub("", content.decode(errors="replace").replace("\r\n", "\n"))


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="operations/github_report.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--repository", default=os.environ.get("GITHUB_REPOSITORY"), help="owner/name")
    parser.add_argument("--marker", required=True, help="which one, for example `preview: dev`")
    commands = parser.add_subparsers(dest="command", required=True)
    comment = commands.add_parser("comment", help="the comment of a pull request")
    comment.add_argument("--pull-request", type=int, required=True)
    issue = commands.add_parser("issue", help="the open issue")
    issue.add_argument("--title", required=True)
    for command in (comment, issue):
        command.add_argument("--about", default="", help="a line of Markdown above the report")
        command.add_argument("--report", type=Path, required=True, help="file with Markdown")
        command.add_argument("--log", type=Path, help="file with text, folded away")
    for command in (issue, commands.add_parser("close", help="close the open issue, if there is one")):
        command.add_argument("--label", required=True)
    return parser.parse_args(argv)


def main() -> str:
    """Do what the command line says; return what was done."""
    asked = arguments()
    token = os.environ.get("GITHUB_TOKEN", "")
    if not token:
        raise GitHubError("GITHUB_TOKEN: must be set, in a workflow to `github.token`")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", asked.repository or ""):
        raise GitHubError(f"--repository: must be owner/name, got {asked.repository!r}")
    board = Board(
        github=GitHub(os.environ.get("GITHUB_API_URL", "https://api.github.com"), token), repository=asked.repository
    )
    if asked.command == "close":
        return patiently(lambda: board.close(asked.label, body_of(asked.marker)))
    body = body_of(asked.marker, read(asked.report), read(asked.log) if asked.log else "", asked.about)
    if asked.command == "issue":
        return patiently(lambda: board.issue(asked.title, asked.label, body))
    return patiently(lambda: board.comment(asked.pull_request, body))


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{main()}\n")
    except GitHubError as problem:
        sys.exit(f"operations/github_report.py: {problem}")
