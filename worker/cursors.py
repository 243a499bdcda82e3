"""How far a handler (and shard) has come: claimed, read and moved inside the one transaction of a batch.

A cursor is a pg_snapshot, not a number: ids commit out of order, so `id > last` would skip events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection

from worker.errors import ClaimLost, ForeignCursor, NotMigrated
from worker.locks import claim_lock

# Which database this is. Transaction ids mean nothing in another one, such as that of a restored dump.
CLUSTER: LiteralString = """(
    (select oid from pg_database where datname = current_database())::text || '/' ||
    case when has_function_privilege('pg_control_system()', 'execute')
         then (select system_identifier from pg_control_system())::text else '' end)"""

LOCK: LiteralString = "select pg_try_advisory_xact_lock(%s) as claimed"
READ: LiteralString = (
    "select done::text as done, target::text as target, last_id, max_id, cluster = "
    + CLUSTER
    + """ as native, shards,
       exists (select from hearken.parked p where p.handler = c.handler) as parked,
       exists (select from hearken.paused p where p.handler = c.handler) as paused
from hearken.cursors c where handler = %s and shard = %s"""
)
# The compare-and-set: whoever settles must have read the cursor as it still is.
MOVE: LiteralString = """
update hearken.cursors
set done = %(done)s::pg_snapshot, target = %(target)s::pg_snapshot, last_id = %(last_id)s, max_id = %(max_id)s,
    moved_at = now()
where handler = %(handler)s and shard = %(shard)s and done::text = %(was_done)s and last_id = %(was_last_id)s
  and target::text is not distinct from %(was_target)s
"""


@dataclass(frozen=True)
class Position:
    """What a cursor row says: `target` is None while no window is open, else (last_id, max_id] is left of it."""

    done: str
    target: str | None = None
    last_id: int = 0
    max_id: int = 0


@dataclass(frozen=True)
class Claim:
    """A claimed cursor. It is ours until the transaction ends."""

    handler: str
    shard: int
    shards: int
    position: Position
    has_parked: bool
    paused: bool


async def claim(connection: AsyncConnection[Any], handler: str, shard: int) -> Claim | None:
    """Take the cursor for this transaction, or None when another worker has it.

    The advisory lock assigns no transaction id, so a batch that waits holds back neither vacuum nor a snapshot.
    The row is read by a later statement than the lock, whose snapshot could be older than the lock.
    Raises NotMigrated, ForeignCursor.
    """
    async with connection.pipeline():
        locked = await connection.execute(LOCK, (claim_lock(handler, shard),))
        read = await connection.execute(READ, (handler, shard))
        claimed, row = await locked.fetchone(), await read.fetchone()
    if claimed is None or not claimed["claimed"]:
        return None
    if row is None:
        raise NotMigrated(f"handler {handler} (shard {shard}) has no cursor: run `hearken migrate`")
    if not row["native"]:
        raise ForeignCursor(
            f"the cursor of {handler} was written in another database (a restored dump?): run `hearken rebase`"
        )
    position = Position(row["done"], row["target"], row["last_id"], row["max_id"])
    return Claim(handler, shard, row["shards"], position, row["parked"], row["paused"])


async def move(connection: AsyncConnection[Any], claimed: Claim, to: Position) -> None:
    """Move the claimed cursor. Raises ClaimLost when it is no longer as it was read."""
    was = claimed.position
    moved = await connection.execute(
        MOVE,
        {
            "handler": claimed.handler,
            "shard": claimed.shard,
            "done": to.done,
            "target": to.target,
            "last_id": to.last_id,
            "max_id": to.max_id,
            "was_done": was.done,
            "was_target": was.target,
            "was_last_id": was.last_id,
        },
    )
    if moved.rowcount != 1:
        raise ClaimLost(f"the cursor of {claimed.handler} (shard {claimed.shard}) was moved by another worker")
