"""Which files of a project go into a release: by the .gitignore files of its tree, two settings, and left_out.py.

What git tracks although it is ignored can't be known without git's index, and is left out like the rest.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from heapq import nlargest
from pathlib import Path

from provider.uploads import left_out
from provider.uploads.ignore import Pattern, Patterns, as_bytes, as_text
from provider.uploads.left_out import Kind

MAX_BYTES = 256 * 1024 * 1024
MOST_LINKS = 40  # one after the other, as Linux has it; more are a ring
IGNORE_FILE = ".gitignore"
COPY = "copy what it leads to"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Why something is left out, and what git or a setting says of it."""

    kind: Kind
    why: str
    is_folder: bool = False


@dataclass(kw_only=True, slots=True)
class ProjectFiles:
    """What of a tree goes, what is left out, and what is wrong; paths are relative to the root, with `/`."""

    root: Path
    names: list[str] = field(default_factory=list)  # files, links and folders, a folder before what is in it
    files: int = 0
    size: int = 0  # bytes
    left: dict[str, LeftOut] = field(default_factory=dict)  # a folder stands for what is in it
    problems: list[str] = field(default_factory=list)

    def why_left_out(self, name: str) -> str | None:
        """Tell why a file that is there does not go, if it does not."""
        if name in self.names or not (self.root / name).exists():
            return None
        parts = name.split("/")
        found = (self.left.get("/".join(parts[:count])) for count in range(len(parts), 0, -1))
        return next((one.why for one in found if one), None)


@dataclass(frozen=True, slots=True)
class _Level:
    """A .gitignore, and how a path of the tree is called from its folder."""

    patterns: Patterns
    cut: int  # characters at the path's start, of one in the tree
    before: str = ""  # of one above it

    def last(self, path: str, name: str, *, is_folder: bool) -> Pattern | None:
        return self.patterns.last(self.before + path[self.cut :], name, is_folder=is_folder)


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What is thought of a file or folder, and holds for what is in it."""

    rule: LeftOut | None = None  # why it would be left out
    included: bool = False  # but `app.include` has it
    lifted: Kind | None = None  # so it has by its name, against this reason

    @property
    def reason(self) -> LeftOut | None:
        """Why it is left out, if it is."""
        return None if self.included else self.rule


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder on the way, and what holds for all that is in it."""

    name: str  # with a "/" behind it, "" of the root
    path: str  # the same in bytes
    levels: tuple[_Level, ...]
    verdict: _Verdict
    is_package: bool = False  # of Python's


def project_files(root: Path, exclude: Sequence[str] = (), include: Sequence[str] = ()) -> ProjectFiles:
    """Find out which files of a tree go; what is wrong is in the result, all of it."""
    walk = _Walk(root, Patterns.of_setting(exclude), Patterns.of_setting(include))
    walk.run()
    return walk.found


class _Walk:
    """One walk through a tree."""

    def __init__(self, root: Path, exclude: Patterns, include: Patterns) -> None:
        self.found = ProjectFiles(root=root)
        self._exclude = exclude
        self._include = include
        self._ways = [one.glob.split("/") for one in include.patterns if one.anchored and not one.negated]
        self._matched: set[str] = set()  # globs of `app.include`
        self._links: list[str] = []
        self._sizes: list[tuple[int, str]] = []

    def run(self) -> None:
        """Walk, then look at what can be judged at the end only."""
        try:
            entries, above = self._entries(""), _above(self.found.root)
        except OSError as error:
            self._unreadable(error)
            return
        if any(entry.name == "pyvenv.cfg" for entry in entries):
            self._problem(
                f"must not be a virtual environment itself, {self.found.root} has pyvenv.cfg; make the environment in "
                "a folder of its own"
            )
            return
        self._folder(_Folder("", "", above, _Verdict()), entries)
        self._judge_links()
        self._judge_size()
        for pattern in self._include.patterns:
            if pattern.is_literal and not pattern.negated and pattern.glob not in self._matched:
                self.found.problems.append(
                    f'app.include: must name what is there, got "{as_text(pattern.line)}", which is not; build it '
                    "first, name the whole way to it, or leave it out"
                )

    def _problem(self, text: str) -> None:
        self.found.problems.append(f"app.path: {text}")

    def _unreadable(self, error: OSError) -> None:
        name = shown(os.path.relpath(error.filename, self.found.root))
        self._problem(f"must be readable, {name} is not ({error.strerror}); change its mode, or name it in app.exclude")

    def _entries(self, name: str) -> list[os.DirEntry[str]]:
        """List a folder, in an order that does not depend on the file system."""
        with os.scandir(self.found.root / name) as entries:
            return sorted(entries, key=lambda entry: os.fsencode(entry.name))

    def _folder(self, folder: _Folder, entries: Sequence[os.DirEntry[str]]) -> None:
        if folder.name and any(entry.name == ".git" for entry in entries):
            folder = replace(folder, levels=())  # another repository: a submodule, which has its own lists
        for entry in entries:
            # Git follows no link to one either.
            if entry.name == IGNORE_FILE and entry.is_file(follow_symlinks=False):
                try:
                    level = _Level(Patterns.of_file(Path(entry.path).read_bytes()), len(folder.path))
                except OSError as error:
                    self._unreadable(error)
                else:
                    folder = replace(folder, levels=(*folder.levels, level))
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                self._subfolder(folder, entry)
            else:
                self._file(folder, entry)

    def _file(self, folder: _Folder, entry: os.DirEntry[str]) -> None:
        name, raw = folder.name + entry.name, as_bytes(entry.name)
        kept = left_out.by_name(entry.name, top=not folder.name)
        reason = self._judge(folder, raw, kept, is_folder=False, link=entry.is_symlink()).reason
        status = entry.stat(follow_symlinks=False)
        regular = stat.S_ISREG(status.st_mode)
        # What is left out is not looked into; what a link leads to is looked at by itself.
        if not reason and not kept and regular:
            try:
                kept = left_out.by_content(entry.name, entry.path)
            except OSError as error:
                self._unreadable(error)
                return
            reason = self._judge(folder, raw, kept, is_folder=False).reason if kept else None
        if reason:
            self._leave(folder, name, reason)
        elif regular:
            self.found.names.append(name)
            self.found.files += 1
            self.found.size += status.st_size
            self._sizes.append((status.st_size, name))
        elif entry.is_symlink():
            self._links.append(name)
            self.found.names.append(name)
        else:
            self._problem(
                f"must hold files, folders and links only, {shown(name)} is none of them; remove it, or name it in "
                "app.exclude"
            )

    def _subfolder(self, folder: _Folder, entry: os.DirEntry[str]) -> None:
        name, raw = folder.name + entry.name, as_bytes(entry.name)
        kept = left_out.by_name(entry.name)
        verdict = self._judge(folder, raw, kept, is_folder=True)
        on_the_way = self._is_on_a_way(folder.path + raw)
        entries: list[os.DirEntry[str]] = []
        if verdict.reason is None or on_the_way:
            try:
                entries = self._entries(name)
            except OSError as error:
                self._unreadable(error)
            if not kept:
                inside = frozenset(one.name for one in entries)
                top, in_package = not folder.name, folder.is_package
                kept = left_out.by_entries(entry.name, inside, top=top, in_package=in_package)
                verdict = self._judge(folder, raw, kept, is_folder=True) if kept else verdict
        if verdict.reason:
            self._leave(folder, name, verdict.reason)
            if not on_the_way:
                return
        before = len(self.found.names)
        self.found.names.append(name)
        is_package = any(one.name == left_out.PACKAGE for one in entries)
        self._folder(_Folder(f"{name}/", f"{folder.path}{raw}/", folder.levels, verdict, is_package), entries)
        # A folder in which nothing is left: git does not know it, so another checkout would not have it.
        if len(self.found.names) == before + 1:
            self.found.names.pop()

    def _judge(self, folder: _Folder, raw: str, kept: Kind | None, *, is_folder: bool, link: bool = False) -> _Verdict:
        path = folder.path + raw
        # For git a link to a folder is none; people who write `env/` as a setting mean it.
        meant = is_folder or (link and (self.found.root / os.fsdecode(path.encode("latin-1"))).is_dir())
        wish = self._include.last(path, raw, is_folder=meant)
        if wish:
            self._matched.add(wish.glob)
        wanted = wish is not None and not wish.negated
        rule: LeftOut | None
        if kept and not _is_lifted(kept, folder.verdict.lifted):
            rule = LeftOut(kept, kept.value, is_folder)
            return _Verdict(rule, included=True, lifted=kept) if wanted and wish and wish.is_literal else _Verdict(rule)
        excluded = self._exclude.last(path, raw, is_folder=meant)
        if excluded and not excluded.negated:
            rule = LeftOut(Kind.EXCLUDED, f"app.exclude has `{as_text(excluded.line)}`", is_folder)
            return _Verdict(rule, included=wanted, lifted=folder.verdict.lifted if wanted else None)
        rule = folder.verdict.rule or self._ignored(folder, path, raw, is_folder=is_folder)
        included = wanted or (folder.verdict.included and not wish)
        return _Verdict(rule, included=included, lifted=folder.verdict.lifted if included else None)

    def _ignored(self, folder: _Folder, path: str, raw: str, *, is_folder: bool) -> LeftOut | None:
        """Ask the .gitignore files, the nearest first: the first that says anything decides."""
        for level in reversed(folder.levels):
            if pattern := level.last(path, raw, is_folder=is_folder):
                if pattern.negated:
                    return None
                return LeftOut(Kind.IGNORED, f"git ignores it (`{as_text(pattern.line)}`)", is_folder)
        return None

    def _leave(self, folder: _Folder, name: str, reason: LeftOut) -> None:
        if folder.verdict.reason is None:
            self.found.left[name] = reason

    def _is_on_a_way(self, path: str) -> bool:
        """Tell whether `app.include` names something in a folder, whatever the folder is."""
        parts = path.split("/")
        return any(_leads_into(way, parts) for way in self._ways)

    def _judge_links(self) -> None:
        """Leave out the links to what is left out, and refuse those that lead nowhere on a Droplet."""
        taken = set(self.found.names)
        dropped = set()
        for name in self._links:
            try:
                target, through = _target(self.found.root, name)
            except OSError as error:
                self._unreadable(error)
            except _AwayError as error:
                self._problem(f"{error}, or name it in app.exclude")
            else:
                there = [*through, *([target] if (self.found.root / target).exists() else ())]
                if lost := next((one for one in there if one and one not in taken), None):
                    self.found.left[name] = LeftOut(Kind.LINK, f"a link to {shown(lost)}, which is left out")
                    dropped.add(name)
        if dropped:
            kept: list[str] = []
            parents: set[str] = set()
            links = set(self._links)
            for name in reversed(self.found.names):
                is_folder = name not in links and (self.found.root / name).is_dir()
                if name not in dropped and (name in parents or not is_folder):
                    kept.append(name)
                    parents.add(name.rpartition("/")[0])
            self.found.names = kept[::-1]

    def _judge_size(self) -> None:
        if self.found.size > MAX_BYTES:
            largest = ", ".join(f"{shown(name)} {size / 2**20:.0f}" for size, name in nlargest(3, self._sizes))
            self._problem(
                f"must be at most {MAX_BYTES >> 20} MiB, is {self.found.size / 2**20:.0f} MiB (largest: {largest}); "
                "name in app.exclude what the app does not need"
            )


def _is_lifted(kept: Kind, lifted: Kind | None) -> bool:
    """Tell whether a folder that is included by its name takes this along: what is local does not bring secrets."""
    return lifted is not None and (kept is Kind.LOCAL) == (lifted is Kind.LOCAL)


class _AwayError(Exception):
    """A link that leads nowhere on a Droplet: path, rule, value, and what to do if it is to go."""


def shown(name: str) -> str:
    """Return a name as text of one line."""
    return as_text(as_bytes(name))


def _target(root: Path, name: str) -> tuple[str, list[str]]:
    """Return where a link leads, and which links are on the way, as if the root were the world.

    Raises _AwayError when it leads out of the root, or in a ring.
    """
    pending, way, links, through = name.split("/"), list[str](), list[str](), list[str]()
    while pending:
        part = pending.pop(0)
        if part in {"", "."}:
            continue
        if part == "..":
            if not way:
                raise _AwayError(f"a link must stay inside the app, {shown(name)} leads to {_first(links)}; {COPY}")
            way.pop()
            continue
        way.append(part)
        path = root.joinpath(*way)
        if not path.is_symlink():
            continue
        through.append("/".join(way))
        way.pop()
        links.append(str(path.readlink()))
        if links[-1].startswith("/"):
            raise _AwayError(f"a link must stay inside the app, {shown(name)} leads to {shown(links[-1])}; {COPY}")
        if len(links) > MOST_LINKS:
            raise _AwayError(
                f"a link must lead to a file or a folder, {shown(name)} leads to {_first(links)} in a ring; remove it"
            )
        pending = [*links[-1].split("/"), *pending]
    return "/".join(way), through


def _first(links: Sequence[str]) -> str:
    return shown(links[0])


def _leads_into(way: Sequence[str], parts: Sequence[str]) -> bool:
    """Tell whether a pattern names a folder on its way; `**` names nothing, and reaches on from what is named."""
    for number, (wanted, part) in enumerate(zip(way[:-1], parts, strict=False)):
        if wanted == "**":
            return number > 0
        if not fnmatchcase(part, wanted):
            return False
    return len(parts) < len(way)


def _above(root: Path) -> tuple[_Level, ...]:
    """Read the .gitignore files above a tree that is a part of a repository."""
    real = root.resolve()
    top = next((folder for folder in (real, *real.parents) if (folder / ".git").exists()), real)
    return tuple(_levels_between(top, real))


def _levels_between(top: Path, root: Path) -> Iterator[_Level]:
    for folder in reversed([folder for folder in root.parents if folder.is_relative_to(top)]):
        file = folder / IGNORE_FILE
        if file.is_file() and not file.is_symlink():
            yield _Level(Patterns.of_file(file.read_bytes()), 0, as_bytes(f"{root.relative_to(folder).as_posix()}/"))
