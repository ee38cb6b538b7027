"""What a failed program printed, shortened: what failed, why, then the end of it.

One rule for the Droplet and for the runner, so that what the first has left is not cut again by the second.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice, takewhile

LIMIT = 6000  # characters: enough for a cause and its surroundings, little enough for a terminal
LONGEST_LINE = 1000
LONGEST_CAUSE = 400
MOST_CAUSES = 6  # lines
CAUSE = "cause: "
LEFT_OUT = "(earlier lines are left out)"

TRACEBACK = "Traceback (most recent call last):"
LINKS = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_GROUP = re.compile(r"\s*[|+] ")  # before each line of an exception group
_FRAME = re.compile(r'\s*File "([^"]+)", line (\d+)')
_LIBRARY = re.compile(r"/site-packages/|/lib/python\d|^<frozen ")
# What follows a message of several lines, and is none of them.
_NEXT = re.compile(r"\s*$|\[|<\d>|\s*\+-|\S+\.(service|socket): |(Started|Stopped|Starting|Stopping|Failed) |\s*\^+$")
# How programs that show no traceback begin the line that says why: uv, its build backends, compilers, Django, argparse.
_MARKED = re.compile(
    r"\s*(?:\u00d7|├─▶|╰─▶|Caused by: )|\s+cause: "
    r"|\s*(?:[^:]{1,80}(?::\d+)*: )?(?i:fatal error|error|fatal): "
    r"|(?:\w+\.)*CommandError: "
)
_GUNICORN = re.compile(r"\[[^]]+\] \[\d+\] \[(?:ERROR|CRITICAL)\] ")
_CHECKS = ("CRITICALS:", "ERRORS:")  # of Django's system check; warnings, which may be many, come after these


def shortened(text: str) -> str:
    """Return the first line, which says what failed, the lines that say why, and the end, in at most LIMIT characters.

    What is returned stays as it is when it is shortened again. Secrets must be gone before: a long line is cut.
    """
    first, *body = text.strip().split("\n")
    head = list(islice(takewhile(lambda line: line.startswith(CAUSE), body), MOST_CAUSES))
    body = body[len(head) :]
    if not head and body[:1] != [LEFT_OUT]:
        head = [CAUSE + cause for cause in causes(body)]
        if head and _size([first, *body]) <= LIMIT and body[0].strip() == head[0].removeprefix(CAUSE):
            head = []  # nothing is before the cause that would hide it
    lines = [_cut(first, LONGEST_LINE), *(_cut(line, LONGEST_CAUSE) for line in head)]
    if _size([*lines, *body]) <= LIMIT:
        return "\n".join([*lines, *body])
    body = [_cut(line, LONGEST_LINE) for line in body]
    if _size([*lines, *body]) > LIMIT:
        lines.append(LEFT_OUT)
        body = _end(body, LIMIT - _size(lines))
    return "\n".join([*lines, *body])


def causes(lines: Iterable[str]) -> list[str]:
    """Return the lines that say why: refusals, then the first exception of the last traceback, then the last one."""
    lines = list(lines)
    raised = _exceptions(lines)
    refusals = [line for line in _refusals(lines) if not any(line in shown for shown in raised)]
    found = [*refusals[: MOST_CAUSES // 2], *raised]
    if not found:
        found = [line.strip() for line in lines if _GUNICORN.match(line)][-1:]
    return list(dict.fromkeys(found))[:MOST_CAUSES]


def _refusals(lines: list[str]) -> Iterator[str]:
    """Yield what programs say by themselves."""
    checks = False
    for line in lines:
        if checks or _MARKED.match(line):
            checks = checks and bool(line.strip())
            if line.strip():
                yield line.strip().removeprefix(CAUSE)
        checks = checks or line.strip() in _CHECKS


@dataclass
class _Raised:
    """One exception of a traceback: what was being done (where the traceback begins in a line), its text, its place."""

    doing: str
    text: list[str] = field(default_factory=list)
    place: str = ""


def _exceptions(lines: list[str]) -> list[str]:
    """Return the exception that began the last chain, with its place, and the one that ended it."""
    chain = _last_chain([_GROUP.sub("", line) for line in lines])
    if not chain:
        return []
    first, last = chain[0], chain[-1]
    place = f" ({first.place})" if first.place else ""
    shown = [f"{first.doing}{first.text[0]}{place}", *first.text[1:]]
    return shown if first is last else [*shown[:2], last.doing + last.text[0], *last.text[1:]]


def _last_chain(lines: list[str]) -> list[_Raised]:
    """Return the exceptions of the last traceback, in the order in which they were raised."""
    chain: list[_Raised] = []
    linked = False
    before = ""  # the last line with text
    position = 0
    while position < len(lines):
        line = lines[position]
        position += 1
        if line.strip() in LINKS:
            linked = True
            if not chain and before:
                chain = [_Raised("", [before])]  # the beginning of its traceback is not there any more
        elif TRACEBACK in line:
            raised, position = _raised(lines, position - 1)
            if raised.text:
                chain = [*chain, raised] if linked else [raised]
            linked = False
        before = line.strip() or before
    return chain


def _raised(lines: list[str], position: int) -> tuple[_Raised, int]:
    """Read the traceback that begins at a position; return it, and where it ends."""
    before = lines[position].partition(TRACEBACK)[0].removesuffix("Exception Group ")
    # Django's migrate has not ended its own line then: "  Applying shop.0002_prices...Traceback".
    raised = _Raised(f"{before.strip()} " if before.strip() else "")
    deeper = " " if raised.doing else before + " "
    places: list[tuple[str, str]] = []
    position += 1
    while position < len(lines) and lines[position].startswith(deeper):
        if frame := _FRAME.match(lines[position]):
            places.append((frame[1], frame[2]))
        position += 1
    while position < len(lines) and len(raised.text) < MOST_CAUSES // 2 and TRACEBACK not in lines[position]:
        if _NEXT.match(lines[position]):
            break
        raised.text.append(lines[position].strip())
        position += 1
    own = [place for place in places if not _LIBRARY.search(place[0])]
    raised.place = f"{own[-1][0]}, line {own[-1][1]}" if own else ""
    return raised, position


def _cut(line: str, longest: int) -> str:
    """Return a line's beginning and end."""
    half = (longest - 3) // 2
    return line if len(line) <= longest else f"{line[:half]} … {line[-half:]}"


def _size(lines: list[str]) -> int:
    """Return how many characters the lines have, with their ends."""
    return sum(len(line) + 1 for line in lines)


def _end(lines: list[str], room: int) -> list[str]:
    """Return the last lines that fit."""
    kept = len(lines)
    while kept and (room := room - len(lines[kept - 1]) - 1) >= 0:
        kept -= 1
    return lines[kept:]
