"""The one store of a world: resources, their private halves and the log of requests, in SQLite."""

import json
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Body = dict[str, Any]  # a JSON object of the API, whose fields differ per kind
Bodies = list[Body]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS resources (
    kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, private TEXT NOT NULL, created_at TEXT NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS requests (
    number INTEGER PRIMARY KEY, at TEXT NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL, query TEXT NOT NULL,
    body TEXT NOT NULL, status INTEGER NOT NULL, ms REAL NOT NULL
);
"""
_FIRST_ID = 400_000_001  # of the order of today's Droplet ids, so that an id is never taken for a small index
_NAMESPACE = uuid.UUID("5f1d7084-7c1c-4d55-8a26-6f1a7d0f5a10")


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """One thing that exists: what the API answers (`body`) and what it keeps to itself (`private`)."""

    kind: str
    id: str
    body: Body
    private: Body
    created_at: str  # RFC 3339, UTC


# What the present call changed, as it was before (None: not there); each call has its own context.
_before: ContextVar[list[tuple[str, str, Resource | None]] | None] = ContextVar("before", default=None)

Resources = list[Resource]  # named here because Store.list hides the builtin inside the class


def now() -> str:
    """Say the present moment as the API writes it, for example 2026-11-23T21:54:06Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """Resources by kind and id. Safe to share between threads; other processes open it with `read_only`."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        mode = "ro" if read_only else "rwc"
        self._connection = sqlite3.connect(
            f"{path.as_uri()}?mode={mode}", uri=True, check_same_thread=False, timeout=10
        )
        self._lock = threading.RLock()
        # Of who only reads: what was listed, as long as nobody has written since. With many Droplets a list takes a
        # while, and a simulated balancer asks for it at each check of each of them.
        self._listed: dict[str, Resources] | None = {} if read_only else None
        self._version = 0
        if not read_only:
            path.chmod(0o600)  # passwords and user data are in it
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def put(self, kind: str, id: str | int, body: Body, private: Body | None = None) -> Resource:  # noqa: A002
        """Create or replace a resource; `private` is kept as it is when None."""
        self._remember(kind, str(id))
        with self._lock, self._connection:
            self._connection.execute(
                "INSERT INTO resources (kind, id, body, private, created_at) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body, "
                "private = CASE WHEN ? THEN resources.private ELSE excluded.private END",
                (kind, str(id), json.dumps(body), json.dumps(private or {}), now(), private is None),
            )
        found = self.get(kind, id)
        assert found is not None
        return found

    def get(self, kind: str, id: str | int) -> Resource | None:  # noqa: A002
        """Return one resource, or None."""
        rows = self._select("WHERE kind = ? AND id = ?", (kind, str(id)))
        return rows[0] if rows else None

    def list(self, kind: str) -> Resources:
        """Return all resources of a kind, oldest first."""
        where = "WHERE kind = ? ORDER BY rowid"
        if self._listed is None:
            return self._select(where, (kind,))
        with self._lock:
            # Another one when others have written: https://sqlite.org/pragma.html#pragma_data_version
            [version] = self._connection.execute("PRAGMA data_version").fetchone()
            if version != self._version:
                self._version = version
                self._listed.clear()
            if kind not in self._listed:
                self._listed[kind] = self._select(where, (kind,))
            return [*self._listed[kind]]

    def count(self, kind: str) -> int:
        """Return how many resources of a kind there are."""
        with self._lock:
            [count] = self._connection.execute("SELECT count(*) FROM resources WHERE kind = ?", (kind,)).fetchone()
        return int(count)

    def all(self) -> Resources:
        """Return everything that exists, oldest first; history and settings don't count."""
        kinds = "'action', 'droplet_destruction', 'first_project', 'metrics_credentials', 'switches'"
        return self._select(f"WHERE kind NOT IN ({kinds}) ORDER BY rowid", ())

    def delete(self, kind: str, id: str | int) -> None:  # noqa: A002
        """Forget a resource; one that doesn't exist is not an error."""
        self._remember(kind, str(id))
        with self._lock, self._connection:
            self._connection.execute("DELETE FROM resources WHERE kind = ? AND id = ?", (kind, str(id)))

    @contextmanager
    def undone_on_failure(self) -> Iterator[None]:
        """Put back what the block changed when it fails: a call that answers an error has changed nothing.

        No SAVEPOINT of SQLite's: calls wait for machines in between and take turns on one connection, so that one of
        them would take back what another has changed.
        """
        changes: list[tuple[str, str, Resource | None]] = []
        token = _before.set(changes)
        try:
            yield
        except BaseException:
            _before.reset(token)
            for kind, id_, before in reversed(changes):
                if before is None:
                    self.delete(kind, id_)
                else:
                    self.put(kind, id_, before.body, before.private)
            raise
        _before.reset(token)

    def _remember(self, kind: str, id_: str) -> None:
        changes = _before.get()
        if changes is not None:
            changes.append((kind, id_, self.get(kind, id_)))

    def next_id(self, name: str = "id") -> int:
        """Return the next whole number of a counter; the same sequence in every world."""
        with self._lock, self._connection:
            row = self._connection.execute(
                "INSERT INTO counters (name, value) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
                (name, _FIRST_ID),
            ).fetchone()
        return int(row[0])

    def next_uuid(self, kind: str) -> str:
        """Return the next UUID of a kind; the same sequence in every world."""
        return str(uuid.uuid5(_NAMESPACE, f"{kind}/{self.next_id(kind)}"))

    def log_request(self, *, method: str, path: str, query: str, body: str, status: int, ms: float) -> None:
        """Add a line to the request log."""
        with self._lock, self._connection:
            self._connection.execute(
                "INSERT INTO requests (at, method, path, query, body, status, ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (now(), method, path, query, body, status, ms),
            )

    def requests(self, after: int = 0) -> Bodies:
        """Return the request log, oldest first, from after the given number."""
        with self._lock:
            cursor = self._connection.execute("SELECT * FROM requests WHERE number > ? ORDER BY number", (after,))
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def _select(self, where: str, values: tuple[str, ...]) -> Resources:
        with self._lock:
            rows = self._connection.execute(
                f"SELECT kind, id, body, private, created_at FROM resources {where}",  # noqa: S608 - fixed texts above
                values,
            ).fetchall()
        return [
            Resource(kind=kind, id=id_, body=json.loads(body), private=json.loads(private), created_at=created_at)
            for kind, id_, body, private, created_at in rows
        ]
