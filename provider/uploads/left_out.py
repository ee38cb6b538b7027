"""What is no part of an app by its name or its content, whether git ignores it or not."""

import re
from collections.abc import Callable
from enum import Enum
from fnmatch import translate
from pathlib import Path

HEAD = 64 * 1024  # bytes of a file that are looked into
PRIVATE = re.compile(rb"PRIVATE KEY( BLOCK)?-----")
PUBLIC = (b"-----BEGIN PUBLIC KEY-----", b"-----BEGIN CERTIFICATE-----", b"-----BEGIN RSA PUBLIC KEY-----")
SQLITE = b"SQLite format 3\0"


class Kind(Enum):
    """Why something is left out, as the preview calls it."""

    SECRET = "secrets"  # noqa: S105 - a word for them
    DATA = "databases and uploads"
    IGNORED = "ignored by git"
    EXCLUDED = "`app.exclude`"
    LINK = "links to what is left out"
    LOCAL = "history, caches and the like"


def _names(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)), re.IGNORECASE)


SECRETS = _names(
    ".env*", "*.env", ".envs", ".envrc", ".netrc", ".pgpass", ".pypirc", ".git-credentials", ".ssh", ".aws",
    "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk",
)  # fmt: skip
# What a project gives to others, for them to fill in.
EXAMPLES = re.compile(r".*[._-](example|sample|template|dist|defaults?)|(example|sample|template)\.env", re.IGNORECASE)
LOCAL = _names(
    ".git", ".hg", ".svn", ".jj", ".bzr",
    ".venv", "venv", "node_modules", "bower_components",
    "__pycache__", "*.pyc", "*.pyo", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".tox", ".nox",
    ".coverage", ".coverage.*", "htmlcov", ".ipynb_checkpoints", ".cache", ".parcel-cache", ".sass-cache",
    ".idea", ".vscode", ".DS_Store", "Thumbs.db", "*.swp", "*~", ".#*", "#*#",
    "*.log", "*.pid", "celerybeat-schedule*",
    ".pulumi", "Pulumi.yaml", "Pulumi.*.yaml",
)  # fmt: skip
DATABASES = _names(
    "*.sqlite", "*.sqlite3", "*.sqlite-*", "*.sqlite3-*", "db.sqlite3*", "*.dump", "*.rdb",
    "*.sql.gz", "*.sql.bz2", "*.sql.xz", "*.sql.zst", "*.sql.zip",
)  # fmt: skip
# At the top of the folder only: deeper, an app may have such files of its own, for its migrations say.
TOP_DUMPS = _names("*.sql")
# Where MEDIA_ROOT usually is: at the top, or in a package. Elsewhere such a folder is a build's or a theme's.
UPLOADS = ("media", "uploads")
# In a package it may have what pages are made of, from before `static/` was.
SOURCES = re.compile(r".*\.(py|html|css|scss|less|m?js|ts)|css|js|scripts|styles")
PACKAGE = "__init__.py"
# What says that a folder is an environment, of whatever name: Python's own, Conda's.
ENVIRONMENTS = ("pyvenv.cfg", "conda-meta")


def by_name(name: str, *, top: bool = False) -> Kind | None:
    """Tell why a file or folder of this name is no part of an app, if it is none; `top` is that of the project."""
    if LOCAL.match(name):
        return Kind.LOCAL
    if SECRETS.match(name) and not EXAMPLES.fullmatch(name):
        return Kind.SECRET
    return Kind.DATA if DATABASES.match(name) or (top and TOP_DUMPS.match(name)) else None


def by_content(name: str, path: str) -> Kind | None:
    """Tell the same of a file by what is in it, where its name does not say it; raises OSError."""
    _, dot, ending = name.rpartition(".")
    look = CONTENTS.get(f".{ending.lower()}" if dot else "")
    return look(_head(path)) if look else None


def by_entries(name: str, inside: frozenset[str], *, top: bool, in_package: bool) -> Kind | None:
    """Tell the same of a folder by what is in it."""
    if not inside.isdisjoint(ENVIRONMENTS):
        return Kind.LOCAL
    if name not in UPLOADS or PACKAGE in inside:  # a package of that name is code
        return None
    return Kind.DATA if top or (in_package and not any(map(SOURCES.fullmatch, inside))) else None


def _of_pem(head: bytes) -> Kind | None:
    """Tell a private key from a certificate, which is for everybody."""
    return Kind.SECRET if PRIVATE.search(head) else None


def _of_key(head: bytes) -> Kind | None:
    """Take what is called a key for one, unless it says that it is for everybody."""
    return _of_pem(head) if any(mark in head for mark in PUBLIC) else Kind.SECRET


def _of_db(head: bytes) -> Kind | None:
    return Kind.DATA if head.startswith(SQLITE) else None


# What an ending, or none, does not say, the content does. A service account's key is in JSON.
CONTENTS: dict[str, Callable[[bytes], Kind | None]] = {
    **dict.fromkeys(("", ".pem", ".crt", ".cer", ".p8", ".asc", ".json"), _of_pem),
    ".key": _of_key,
    ".db": _of_db,
}


def _head(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(HEAD)
