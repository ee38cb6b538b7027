"""What the reports' writer leaves on GitHub, against a strict stand-in of its API."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from operations import github_report
from operations.github_report import BOT, LONGEST_BODY, Board, GitHub, GitHubError, body_of, patiently, read
from tests.commands import ROOT
from tests.github.github_api import REPOSITORY, TOKEN, Fault, State, serving

DEV = body_of("preview: dev", "no changes")


@pytest.fixture
def state() -> Iterator[State]:
    """What is in a repository."""
    with serving() as state:
        yield state


@pytest.fixture
def board(state: State) -> Board:
    """That repository, as the writer sees it."""
    return Board(github=GitHub(state.base, TOKEN), repository=REPOSITORY)


def bodies(state: State) -> list[str]:
    """What is said below pull request 7."""
    return [comment["body"] for comment in state.comments[7]]


def command(state: State, *argv: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """Run the program as the workflow does: with any Python, isolated from the project's environment."""
    return subprocess.run(
        [sys.executable, "-I", "operations/github_report.py", *argv],
        cwd=ROOT,
        env=os.environ | {"GITHUB_API_URL": state.base, "GITHUB_TOKEN": token, "GITHUB_REPOSITORY": REPOSITORY},
        capture_output=True,
        text=True,
        check=False,
    )


def test_one_comment_for_each_environment_replaced_in_place(board: Board, state: State) -> None:
    """Among those of others, on any page."""
    for number in range(5):
        state.comment("reader", f"comment {number}")
    assert board.comment(7, DEV).startswith("created https://")
    assert board.comment(7, body_of("preview: prod", "one change")).startswith("created https://")
    state.comment("reader", "and one below")

    changed = body_of("preview: dev", "two changes")
    assert board.comment(7, changed).startswith("updated https://")
    assert bodies(state)[5:] == [changed, body_of("preview: prod", "one change"), "and one below"]


def test_the_same_body_is_not_written_again(board: Board, state: State) -> None:
    """Also when GitHub has changed the newlines."""
    board.comment(7, DEV)
    state.comments[7][0]["body"] = DEV.replace("\n", "\r\n").rstrip()
    assert board.comment(7, DEV).startswith("unchanged https://")
    assert state.writes == ["POST"]


@pytest.mark.parametrize(
    ("author", "body"),
    [
        ("somebody", DEV),  # the marker alone proves nothing: anybody can copy it
        (BOT, f"another report\n{DEV}"),  # quoted below another report of ours
        (BOT, body_of("preview: dev2", "no changes")),
    ],
)
def test_what_is_not_this_report_stays_as_it_is(board: Board, state: State, author: str, body: str) -> None:
    """A comment is ours by its author and its first line."""
    state.comment(author, body)
    board.comment(7, DEV)
    assert bodies(state) == [body, DEV]


def test_one_issue_is_opened_changed_and_closed(board: Board, state: State) -> None:
    """One for each environment; later drift is another one."""
    drift, more = body_of("drift: dev", "a firewall rule"), body_of("drift: dev", "a firewall rule, a tag")
    for number in range(3):
        state.issue("reader", f"{number}")
    state.issue(BOT, body_of("drift: prod", "a tag"))
    state.issue(BOT, drift, pull_request={})  # the same list has pull requests

    assert board.close("drift", drift) == "none open"
    assert board.issue("dev has drifted", "drift", drift).startswith("created ")
    assert board.issue("dev has drifted", "drift", drift).startswith("unchanged ")
    assert board.issue("dev has drifted", "drift", more).startswith("updated ")
    assert board.close("drift", drift).startswith("closed ")
    assert board.close("drift", drift) == "none open"
    assert state.issues[-1]["body"] == more
    assert (state.issues[-1]["state"], state.issues[-1]["state_reason"]) == ("closed", "completed")
    assert board.issue("dev has drifted", "drift", drift).startswith("created ")
    assert [issue["state"] for issue in state.issues] == [*["open"] * 5, "closed", "open"]


def test_an_issue_without_its_label_is_an_error(board: Board, state: State) -> None:
    """The next run would not find it."""
    state.labels = set()
    with pytest.raises(GitHubError, match="without its label: create the label 'drift'"):
        board.issue("dev has drifted", "drift", body_of("drift: dev", "a tag"))


@pytest.mark.parametrize(
    ("fault", "wait"),
    [
        (Fault(method="GET", status=502), 1),
        (Fault(method="POST", status=502), 1),
        (Fault(method="POST", status=502, done=True), 1),
        (Fault(method="POST", status=403, message="a secondary rate limit", headers={"Retry-After": "7"}), 7),
        (Fault(method="GET", status=403, message="no", headers={"x-ratelimit-remaining": "0"}), 60),
        (Fault(method="GET", status=429, message="slow down", headers={"Retry-After": "soon"}), 60),
    ],
    ids=lambda value: f"{value.status}-{value.method}-{value.done}" if isinstance(value, Fault) else "",
)
def test_what_passes_by_itself_is_tried_again(board: Board, state: State, fault: Fault, wait: float) -> None:
    """As late as GitHub wants it, and without a second comment when only the answer was lost."""
    state.faults = [fault]
    waited: list[float] = []
    done = patiently(lambda: board.comment(7, DEV), waited.append)
    assert done.split()[0] == ("unchanged" if fault.done else "created")
    assert (waited, bodies(state)) == ([wait], [DEV])


@pytest.mark.parametrize(
    ("faults", "waits"),
    [
        ([Fault(method="GET", status=503)] * 9, [1, 2, 4]),
        ([Fault(method="GET", status=429, headers={"Retry-After": "3600"})], []),
    ],
)
def test_patience_ends(board: Board, state: State, faults: list[Fault], waits: list[float]) -> None:
    """A job that waits for an hour helps nobody."""
    state.faults = list(faults)
    waited: list[float] = []
    with pytest.raises(GitHubError, match=r"given up after \d attempts, run the job again later"):
        patiently(lambda: board.comment(7, DEV), waited.append)
    assert waited == waits


def test_nobody_there_is_an_error_after_some_attempts(state: State) -> None:
    """It names what was asked for."""
    closed = Board(github=GitHub("http://127.0.0.1:9", TOKEN), repository=REPOSITORY)
    with pytest.raises(GitHubError, match=r"GET http://127.0.0.1:9/repos/someone/site/issues/7/comments"):
        patiently(lambda: closed.comment(7, DEV), lambda _: None)
    assert state.calls == []


def missing(state: State) -> None:
    """There is no such pull request."""
    state.comments.clear()


def forbidden(state: State) -> None:
    """The job has no permission to write."""
    state.may_write.clear()


def too_long(state: State) -> None:
    """GitHub has other limits than we think."""
    state.faults = [Fault(method="POST", status=422, message="Validation Failed: body is too long")]


def elsewhere(state: State) -> None:
    """The next page is on another host, which would get the token."""
    state.elsewhere = "http://127.0.0.1:9/api/v3/next"
    for number in range(3):
        state.comment("reader", f"{number}")


@pytest.mark.parametrize(
    ("break_", "message"),
    [
        (missing, "404 Not Found; the repository or the number is wrong"),
        (
            forbidden,
            "403 Resource not accessible by integration; the job needs `permissions:` of `pull-requests: write`",
        ),
        (too_long, "422 Validation Failed: body is too long; GitHub does not take the text"),
        (elsewhere, "the next page is elsewhere"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_errors_say_what_to_do(state: State, tmp_path: Path, break_: Callable[[State], None], message: str) -> None:
    """In one line, and a program that ends badly."""
    break_(state)
    (tmp_path / "report.md").write_text("no changes")
    report = ("--report", str(tmp_path / "report.md"))
    done = command(state, "--marker", "preview: dev", "comment", "--pull-request", "7", *report)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("token", [TOKEN, "ghs_not-the-one"])
def test_the_token_is_never_printed(state: State, tmp_path: Path, token: str) -> None:
    """Neither when all is well nor when GitHub refuses it."""
    (tmp_path / "report.md").write_text("no changes")
    report = ("--report", str(tmp_path / "report.md"))
    done = command(state, "--marker", "preview: dev", "comment", "--pull-request", "7", *report, token=token)
    assert done.returncode == (0 if token == TOKEN else 1)
    assert token not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--marker", "preview: dev --> <b>", "close", "--label", "drift"), "--marker: must be words"),
        (("--repository", "site", "--marker", "x", "close", "--label", "drift"), "--repository: must be owner/name"),
    ],
)
def test_nonsense_is_refused_before_anything_is_sent(state: State, argv: tuple[str, ...], message: str) -> None:
    """By its name."""
    done = command(state, *argv)
    assert (done.returncode, state.calls) == (1, [])
    assert message in done.stderr


def test_the_token_goes_by_tls_only() -> None:
    """Except to this machine."""
    with pytest.raises(GitHubError, match=r"must be an https address, got 'http://github.example/api/v3'"):
        GitHub("http://github.example/api/v3", TOKEN)


@pytest.mark.parametrize("log", ["x" * 100_000, "line\n" * 40_000, "é" * 66_000, "`" * 30_000], ids=lambda log: log[:4])
def test_a_long_log_loses_its_middle(log: str, board: Board) -> None:
    """The body is as long as GitHub takes, with all of the report, how the log began and how it ended."""
    body = body_of("preview: dev", "one change", f"first line\n{log}\nlast line")
    assert LONGEST_BODY - 2 <= len(body) <= LONGEST_BODY or "`" in log
    assert board.comment(7, body).startswith("created ")
    for part in ("one change", "first line", "left out", "last line\n", "</details>"):
        assert part in body


def test_a_long_report_ends_at_a_line_and_closes_what_it_opened(board: Board) -> None:
    """A comment whose end is inside of a fold would hide it."""
    report = "<details><summary>changes</summary>\n\n```diff\n" + "+ a line\n" * 10_000 + "```\n</details>"
    body = body_of("preview: dev", report, "a log")
    assert board.comment(7, body).startswith("created ")
    assert body.count("```") == 2
    assert body.rpartition("+ a line")[2].startswith("\n```\n\n</details>\n\n**The report ends here")


def test_a_log_cannot_leave_its_fold() -> None:
    """Whatever fences are in it."""
    body = body_of("preview: dev", "one change", "```\n</details>\n# heading\n````\n")
    assert "`````text\n```\n</details>\n# heading\n````\n`````\n\n</details>\n" in body


def test_control_characters_are_left_out(tmp_path: Path) -> None:
    """The engine's colours, and what is not UTF-8."""
    (tmp_path / "log").write_bytes(b"\x1b[38;5;2m+ create\x1b[0m\r\n\ttwo\x00\xff")
    assert read(tmp_path / "log") == "+ create\n\ttwo\N{REPLACEMENT CHARACTER}"


def link(path: Path) -> None:
    """What an archive may have in place of a file."""
    path.symlink_to("/proc/self/environ")


def fifo(path: Path) -> None:
    """It would never end."""
    os.mkfifo(path)


def large(path: Path) -> None:
    """More than anybody reads."""
    with path.open("wb") as file:
        file.truncate(github_report.LARGEST_FILE + 1)


@pytest.mark.parametrize("make", [link, fifo, large, Path.mkdir])
def test_only_plain_files_are_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A link could make this machine's own files public."""
    make(tmp_path / "report.md")
    with pytest.raises(GitHubError, match=r"report\.md: (must|can't be read as a plain file)"):
        read(tmp_path / "report.md")
