"""Patterns as in .gitignore: which line of a list is the last that matches a path, as git sees it.

What a single pattern matches is pathspec's; that a line counts for the path itself and not for what is below it, and
that the last one counts, is what git makes of it. Names are compared byte by byte, as git does.
"""

import os
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

WILDCARDS = frozenset("*?[\\")
# Character classes, which Python's regular expressions don't have.
CLASSES = {
    "[:alnum:]": "a-zA-Z0-9",
    "[:alpha:]": "a-zA-Z",
    "[:blank:]": " \t",
    "[:digit:]": "0-9",
    "[:lower:]": "a-z",
    "[:space:]": " \t-\r",
    "[:upper:]": "A-Z",
    "[:xdigit:]": "0-9A-Fa-f",
}
BYTE_ORDER_MARK = "\xef\xbb\xbf"  # in bytes, as everything here


def as_bytes(text: str) -> str:
    """Return a name with a character for each of its bytes."""
    return text if text.isascii() else os.fsencode(text).decode("latin-1")


def as_text(name: str) -> str:
    """Return what `as_bytes` was given, to be shown: one line, and nothing in it that a terminal would obey."""
    text = " ".join(name.encode("latin-1").decode(errors="replace").split())
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


@dataclass(frozen=True)
class Pattern:
    """One line; `glob` is the pattern itself, without the marks around it."""

    line: str  # as it was written
    glob: str
    negated: bool  # `!` before it: what it matches is not meant
    folders_only: bool  # `/` behind it
    anchored: bool  # with a `/` in it: the whole path is compared, not the name alone

    @property
    def is_literal(self) -> bool:
        """Whether it has no wildcard: it names what it matches."""
        return WILDCARDS.isdisjoint(self.glob)

    @cached_property
    def matches(self) -> Callable[[str], object]:
        """Tell whether the glob matches a path, or a name where it is not anchored; nothing when it is no glob."""
        regex = _regex(self)
        if regex is None:
            return lambda _path: None
        # pathspec's expression ends where the path of a folder may, so that more of a path would be in the folder:
        # which is not the pattern's own match, but where everything in the folder is meant.
        inside = not self.anchored or regex.pattern in {".", "/"} or self.glob.endswith("/**")
        return regex.search if inside else regex.fullmatch


def parse(line: str) -> Pattern | None:
    """Read one line, as `as_bytes` has it; none if it says nothing."""
    text = _trimmed(line)
    if not text or text.startswith("#"):
        return None
    negated = text.startswith("!")
    glob = text[1:] if negated else text
    folders_only = glob.endswith("/")
    glob = glob[:-1] if folders_only else glob
    anchored = "/" in glob
    return Pattern(line, glob.removeprefix("/"), negated, folders_only, anchored) if glob.strip("/") else None


def problem(line: str) -> str | None:
    """Say why a line would match nothing, if it would not."""
    pattern = parse(as_bytes(line))
    if pattern is None:
        return "names nothing"
    return "has a bracket or a backslash without its end" if not pattern.is_literal and not _regex(pattern) else None


class Patterns:
    """The lines of one file, or of a setting, for all paths below its folder."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.patterns = [pattern for pattern in map(parse, lines) if pattern]
        # Most lines are a name or an ending: those need not be tried one by one.
        self._named: dict[str, list[int]] = {}
        self._endings: list[tuple[str, int]] = []
        self._others: list[int] = []
        for number, pattern in enumerate(self.patterns):
            ending = pattern.glob[1:]
            if pattern.is_literal:
                self._named.setdefault(("/" if pattern.anchored else "") + pattern.glob, []).append(number)
            elif not pattern.anchored and pattern.glob[0] == "*" and WILDCARDS.isdisjoint(ending):
                self._endings.append((ending, number))
            else:
                self._others.append(number)
        self._any_ending = tuple(ending for ending, _ in self._endings)

    @classmethod
    def of_file(cls, content: bytes) -> "Patterns":
        """Read a .gitignore."""
        text = content.decode("latin-1").removeprefix(BYTE_ORDER_MARK)
        return cls(line.removesuffix("\r") for line in text.split("\n"))

    @classmethod
    def of_setting(cls, lines: Iterable[str]) -> "Patterns":
        """Read a setting's list."""
        return cls(map(as_bytes, lines))

    def last(self, path: str, name: str, *, is_folder: bool) -> Pattern | None:
        """Return the last line that matches a path, of which `name` is the end; both as `as_bytes` has them."""
        if not self.patterns:
            return None
        found = [*self._named.get(name, ()), *self._named.get(f"/{path}", ())]
        if self._any_ending and name.endswith(self._any_ending):
            found += [number for ending, number in self._endings if name.endswith(ending)]
        for number in self._others:
            pattern = self.patterns[number]
            if pattern.matches(path if pattern.anchored else name):
                found.append(number)
        if not found:
            return None
        meant = [number for number in found if is_folder or not self.patterns[number].folders_only]
        return self.patterns[max(meant)] if meant else None


def _trimmed(line: str) -> str:
    """Return a line without the spaces at its end, but for one behind a backslash."""
    end = position = 0
    while position < len(line):
        start = position
        position += 2 if line[start] == "\\" else 1
        if line[start] != " ":
            end = position
    return line[:end]


def _regex(pattern: Pattern) -> re.Pattern[str] | None:
    """Return the regular expression of a pattern's glob, none when git would match nothing with it."""
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

    # Without its marks, and so that nothing in it is taken for one.
    glob = f"/{pattern.glob}" if pattern.anchored else re.sub("^[!#]", r"\\\g<0>", pattern.glob)
    for name, characters in CLASSES.items():
        glob = glob.replace(name, characters)
    try:
        expression = GitIgnoreSpecPattern.pattern_to_regex(glob)[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of a "[" in a bracket, which other languages know
            return re.compile(expression, re.DOTALL) if expression else None
    except (ValueError, re.error):
        return None
