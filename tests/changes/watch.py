"""A visitor and a client of the database, who ask all the time while a stack changes, and know how long it was away."""

import contextlib
import http.client
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg

from sandbox.model.store import Store
from sandbox.world import ports
from sandbox.world.world import World

APP_ROLE = DATABASE = "app"  # as components/database.py has them
# Seconds between two questions. Of the database none is missed in between: what came back is another one than before.
INTERVAL = {"site": 0.1, "database": 0.4}
PATIENCE = 5  # seconds that are waited for the end of an absence, once the change is done
TIMEOUT = 20  # seconds that an answer may take, on a machine that is busy with other tests


@dataclass(kw_only=True, slots=True)
class Away:
    """The longest time without an answer, in seconds; 0 when every question was answered."""

    site: float = 0
    database: float = 0
    questions: int = 0
    seen: list[str] = field(default_factory=list)  # what was wrong, for a test that fails

    @property
    def longest(self) -> float:
        """Of both."""
        return max(self.site, self.database)


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """Who is asked."""

    world: World
    domain: str
    password: str  # of the role "app"


@contextlib.contextmanager
def watch(watched: Watched) -> Iterator[Away]:
    """Ask both, each by itself, while the block runs."""
    away = Away()
    over = threading.Event()
    asked = {"site": _site(watched), "database": _database(watched)}
    threads = [threading.Thread(target=_ask, args=(name, ask, away, over)) for name, ask in asked.items()]
    for thread in threads:
        thread.start()
    try:
        yield away
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _ask(name: str, ask: Callable[[], str | None], away: Away, over: threading.Event) -> None:
    since: float | None = None  # the first question without an answer
    while True:
        last = over.is_set()  # it is asked once more after the end: what was done last counts, too
        asked = time.monotonic()
        wrong = ask()
        away.questions += 1
        if wrong is None:
            if since is not None:
                setattr(away, name, max(getattr(away, name), asked - since))
            since = None
        else:
            since = since or asked
            away.seen.append(f"{name}: {wrong}")
        # Once over, an absence is waited for to its end: the change may have left it behind.
        if last and (since is None or asked - since > PATIENCE):
            if since is not None:
                setattr(away, name, max(getattr(away, name), asked - since))
            return
        if over.wait(INTERVAL[name]) and last:
            time.sleep(INTERVAL[name])


def _site(watched: Watched) -> Callable[[], str | None]:
    context = ssl.create_default_context(cafile=str(watched.world.bundle))

    def ask() -> str | None:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", watched.world.proxy_port, context=context, timeout=TIMEOUT
        )
        connection.set_tunnel(watched.domain, 443)
        try:
            connection.request("GET", "/healthz")
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return str(error)
        finally:
            connection.close()
        return None if status == http.client.OK else f"status {status}"

    return ask


def _database(watched: Watched) -> Callable[[], str | None]:
    """The way of the app: a pool that exists (nobody serves it at this depth), and the role's login to the server.

    A pool or a server that went away and came back between two questions is another one than before.
    """
    store = Store(watched.world.database, read_only=True)
    cluster = store.list("database")[0].id
    port = ports.known(watched.world)[f"postgres-{cluster[:8]}"]
    last: tuple[str, object] | None = None  # when pool and server came to be, at a question that was answered

    def ask() -> str | None:
        nonlocal last
        before, last = last, None
        pools = store.list("database_pool")
        if not pools:
            return "no pool"
        try:
            with psycopg.connect(
                host="localhost",
                port=port,
                user=APP_ROLE,
                password=watched.password,
                dbname=DATABASE,
                sslmode="verify-full",
                sslrootcert=str(watched.world.ca / "ca.crt"),
                connect_timeout=TIMEOUT,
            ) as connection:
                started = connection.execute("SELECT pg_postmaster_start_time()").fetchone()
        except psycopg.Error as error:
            return str(error).strip()
        last = pools[0].created_at, started
        return None if before in {None, last} else "pool or server is another one than at the last question"

    return ask
