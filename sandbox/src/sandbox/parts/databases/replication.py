"""What the nodes of a cluster do for each other: a standby copies and follows the primary, and takes its place."""

import logging

from sandbox.model.realiser import RealiserError
from sandbox.parts.databases.node import Node
from sandbox.world.waiting import until
from sandbox.world.world import WorldError

logger = logging.getLogger("sandbox.clusters")

_FOLLOW_DEADLINE = 20.0  # seconds for a standby to be connected to its primary
_CAUGHT_UP_DEADLINE = 20.0  # seconds for a standby to have all that a primary wrote before it stopped
_PROMOTED_DEADLINE = 30.0  # seconds
_LAGS = """\
SELECT substr(application_name, 5), coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn), 0)
FROM pg_stat_replication WHERE state = 'streaming' AND application_name ~ '^node[0-9]$';
"""
# How far what a standby has received reaches; after a restart it may have received nothing yet.
_RECEIVED = "SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0';"


def join(standby: Node, primary: Node) -> None:
    """Make a node follow the primary; one that can't, such as an old primary, is replaced by a new one."""
    if standby.follows() and _resumes(standby, primary):
        standby.put_pools(primary.pools())
        return
    standby.machine.destroy()
    standby.start(joins=primary)
    _wait_follows(standby, primary)


def lags(primary: Node) -> dict[int, int]:
    """Return how many bytes each standby that follows has yet to write, by number."""
    return {int(number): int(behind) for number, behind in primary.sql(_LAGS)}


def all_follow(primary: Node, *standbys: Node) -> bool:
    """Whether all standby nodes receive what the primary writes; not, if it can't say."""
    try:
        return lags(primary).keys() >= {standby.number for standby in standbys}
    except (RealiserError, WorldError):
        return False


def states(primary: Node, *standbys: Node) -> dict[int, str]:
    """Say of each node what it does."""
    try:
        behind = lags(primary)
    except (RealiserError, WorldError):
        return {node.number: "no primary answers" for node in (primary, *standbys)}
    said = {number: f"streaming, {count} bytes behind" for number, count in behind.items()}
    return {primary.number: "primary"} | {one.number: said.get(one.number, "does not follow") for one in standbys}


def retire(primary: Node, standbys: list[Node], *, planned: bool) -> int:
    """End the primary's machine and return the number of the standby that has most of what it wrote.

    Planned, it stops in order, and the standby has all of it. Nothing starts the machine again but `join`, which makes
    it a standby.
    """
    able = [standby for standby in standbys if _received(standby) is not None]
    if not able:
        raise RealiserError(f"database cluster {primary.spec.name}: has no standby that could take over")
    if planned:
        _stop(primary, able)
    primary.machine.kill()
    return max(able, key=lambda standby: _received(standby) or 0).number


def promote(node: Node) -> None:
    """Make a node writable, unless it is."""
    if not node.follows():
        return
    node.sql("SELECT pg_promote(wait => false);")
    until(
        lambda: "it is in recovery" if node.sql("SELECT pg_is_in_recovery();") != [["f"]] else None,
        _PROMOTED_DEADLINE,
        lambda last: RealiserError(f"machine {node.machine.name}: was promoted, but {last}"),
    )


def _resumes(standby: Node, primary: Node) -> bool:
    """Whether a node goes on following, from what is on its disk."""
    try:
        standby.start(joins=primary)
        _wait_follows(standby, primary)
    except (RealiserError, WorldError) as error:
        logger.warning("machine %s is replaced: %s", standby.machine.name, error)
        return False
    return True


def _wait_follows(standby: Node, primary: Node) -> None:
    until(
        lambda: None if standby.number in lags(primary) else "does not follow",
        _FOLLOW_DEADLINE,
        lambda last: RealiserError(f"machine {standby.machine.name}: {last} {primary.machine.name}"),
    )


def _received(standby: Node) -> int | None:
    """Return up to where a standby has the primary's log, in bytes; None if it can't say."""
    try:
        [[position]] = standby.sql(_RECEIVED)
    except (RealiserError, WorldError):
        return None
    return int(position or 0)


def _stop(primary: Node, standbys: list[Node]) -> None:
    """Stop the primary's PostgreSQL: in order, it first sends all that it wrote, and then the word that it stopped."""
    unit = f"postgresql@{primary.spec.version}-main.service"
    primary.machine.run(["systemctl", "stop", unit], timeout=_CAUGHT_UP_DEADLINE + 60)
    program = f"/usr/lib/postgresql/{primary.spec.version}/bin/pg_controldata"
    told = primary.machine.run([program, f"/var/lib/postgresql/{primary.spec.version}/main"]).stdout
    [last] = [line.split()[-1] for line in told.splitlines() if line.startswith("Latest checkpoint location:")]
    high, low = (int(part, 16) for part in last.split("/"))
    end = (high << 32) + low  # where the record of the stop begins
    late = RealiserError(f"database cluster {primary.spec.name}: no standby has all that the primary wrote")
    try:
        until(
            lambda: None if any((_received(one) or 0) > end for one in standbys) else "behind",
            _CAUGHT_UP_DEADLINE,
            lambda _: late,
        )
    except RealiserError:
        primary.machine.run(["systemctl", "start", unit])
        raise
