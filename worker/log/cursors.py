"""How far a handler (and shard) has come: claimed, read and moved inside the one transaction of a batch.

A cursor is a pg_snapshot, not a number: ids commit out of order, so `id > last` would skip events.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, LiteralString

from psycopg import AsyncClientCursor, AsyncConnection
from psycopg.rows import dict_row

from worker.declare.declaration import declaration_of, describe_difference
from worker.declare.handler import Handler
from worker.errors import ClaimLost, DeclaredOtherwise, ForeignCursor, NotMigrated, Unsupported
from worker.postgres.database import Connection
from worker.postgres.locks import claim_lock

READ_ONLY = "the database takes no writes (a read replica, or default_transaction_read_only of the role or database)"
# Sent as one simple query, so that the transaction's begin costs no round trip of its own.
CLAIM: LiteralString = """
begin; select claimed, parked, paused, (cursor_row).done::text, (cursor_row).target::text, (cursor_row).last_id,
              (cursor_row).max_id, (cursor_row).cluster, (cursor_row).seq, declaration,
              (cursor_row).done_id, (cursor_row).floor_id, (cursor_row).target_id, (cursor_row).target_tx::text,
              (cursor_row).judged_id, (cursor_row).deleted, (cursor_row).archived,
              (cursor_row).seen_id, (cursor_row).seen_tx::text,
              coalesce(pg_sequence_last_value('hearken.events_id_seq'), 0) as newest,
              current_setting('transaction_read_only') = 'on' as read_only
from hearken.claim(%s, %s, %s)
"""
HOLD: LiteralString = "begin; select pg_advisory_xact_lock(%s)"
# The compare-and-set: whoever settles deletes the very row that was read, and puts the next in its place. A move's own
# transaction is later than the reading of `newest`: so whatever is later still has greater ids. What the new `done`
# does not show is later than the move before it was taken, or else was in flight: for that, the former floor stays.
MOVE: LiteralString = """
with was as (
    delete from hearken.cursors where handler = %(handler)s and shard = %(shard)s and seq = %(seq)s
    returning handler, shard, seq, shards, topics, cluster)
insert into hearken.cursors (handler, shard, seq, shards, topics, cluster, done, target, last_id, max_id, done_id,
                             floor_id, target_id, target_tx, seen_id, seen_tx, judged_id, deleted, archived, moved_at)
select handler, shard, seq + 1, shards, topics, cluster, %(done)s::pg_snapshot, %(target)s::pg_snapshot, %(last_id)s,
       %(max_id)s, %(done_id)s,
       case when %(since_tx)s::xid8 is null or exists (
           select from pg_snapshot_xip(%(done)s::pg_snapshot) x (tx) where x.tx <= %(since_tx)s::xid8)
           then %(floor_id)s else %(done_id)s end,
       %(target_id)s, %(target_tx)s::xid8, %(newest)s, pg_current_xact_id(), %(judged_id)s, %(deleted)s, %(archived)s,
       clock_timestamp()
from was
"""
# Nothing is known of cursors that are older than the stored declarations.
KEEP_FORMER: LiteralString = """
insert into hearken.former_declarations (handler, shard, shards, declaration, done, target, last_id)
select c.handler, c.shard, c.shards, d.declaration, c.done, c.target, c.last_id
from hearken.cursors c join hearken.declarations d using (handler) where c.handler = %s
"""


@dataclass(frozen=True)
class Position:
    """What a cursor row says: `target` is None while no window is open, else (last_id, max_id] is left of it.

    done_id    what `done` does not show has a greater id, but for what was long in flight in it
    floor_id   what `done` does not show has a greater id
    target_id  what done_id will be when the window is done; target_tx: what is later than that has greater ids
    since_tx   target_tx of the window that has just been done
    judged_id  how far the brake has looked into the window, where it has counted `deleted` and `archived`
    """

    done: str
    target: str | None = None
    last_id: int = 0
    max_id: int = 0
    done_id: int = 0
    floor_id: int = 0
    target_id: int = 0
    target_tx: str = "0"
    since_tx: str | None = None
    judged_id: int = 0
    deleted: int = 0
    archived: int = 0


@dataclass(frozen=True)
class Claim:
    """A claimed cursor. It is ours until the transaction ends.

    newest            the last id that was given before anything was read
    seen_id, seen_tx  that of the last move, and its transaction
    """

    handler: str
    shard: int
    seq: int
    position: Position
    has_parked: bool
    paused: bool
    newest: int
    seen_id: int
    seen_tx: str


async def claim(connection: Connection, handler: Handler, shard: int) -> Claim | None:
    """Begin a transaction and take the cursor for it, or None when another worker has it.

    The advisory lock assigns no transaction id, so a batch that waits holds back neither vacuum nor a snapshot.
    Raises NotMigrated, DeclaredOtherwise, ForeignCursor, Unsupported when nothing that is delivered could be recorded.
    """
    name = handler.name
    async with AsyncClientCursor(connection, row_factory=dict_row) as cursor:
        await cursor.execute(CLAIM, (claim_lock(name, shard), name, shard))
        cursor.nextset()
        row = await cursor.fetchone()
    if row is None or not row["claimed"]:
        return None
    if row["read_only"]:
        raise Unsupported(f"{READ_ONLY}: nothing is delivered, because it could not be recorded")
    _check_declaration(handler, row["declaration"])
    if row["done"] is None:
        raise NotMigrated(f"handler {name} (shard {shard}) has no cursor: run `hearken migrate`")
    if row["cluster"] != connection.cluster:
        raise ForeignCursor(
            f"the cursor of {name} was written in another database (a restored dump?): run `hearken rebase`"
        )
    position = Position(**{field.name: row[field.name] for field in fields(Position) if field.name in row})
    seen = row["newest"], row["seen_id"], row["seen_tx"]
    return Claim(name, shard, row["seq"], position, row["parked"], row["paused"], *seen)


async def hold(connection: Connection, handler: Handler, shard: int) -> None:
    """Begin a transaction, and wait until no other has the cursor: to settle what is parked, not to move it."""
    async with AsyncClientCursor(connection) as cursor:
        await cursor.execute(HOLD, (claim_lock(handler.name, shard),))


def _check_declaration(handler: Handler, stored: dict[str, Any] | None) -> None:
    """A worker whose declaration differs would pass over events that those with the stored one need, or the reverse."""
    if stored is None:
        raise NotMigrated(f"handler {handler.name} has no stored declaration: run `hearken migrate`")
    if stored != (declared := declaration_of(handler)):
        raise DeclaredOtherwise(
            f"handler {handler.name} is declared otherwise in this worker's code than in the database"
            f" ({describe_difference(stored, declared)}): if this code is the newer, run `hearken migrate` with it;"
            " if it is the older, stop this worker"
        )


async def move(connection: AsyncConnection[Any], claimed: Claim, to: Position) -> None:
    """Move the claimed cursor. Raises ClaimLost when it is no longer as it was read."""
    moved = await connection.execute(
        MOVE,
        {
            "handler": claimed.handler,
            "shard": claimed.shard,
            "seq": claimed.seq,
            "newest": claimed.newest,
            **{field.name: getattr(to, field.name) for field in fields(Position)},
        },
    )
    if moved.rowcount != 1:
        raise ClaimLost(f"the cursor of {claimed.handler} (shard {claimed.shard}) was moved by another worker")


async def keep_former(connection: AsyncConnection[Any], handler: str) -> None:
    """Write down where the handler's cursors stand before its declaration is replaced: what they passed, it judged."""
    await connection.execute(KEEP_FORMER, (handler,))
