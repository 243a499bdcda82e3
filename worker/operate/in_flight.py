"""Which keys have events that a handler has not been given yet, or has parked to try again: for `reconcile`.

What is compared takes a while. A key that was in flight when it began may have been looked at before or after its
delivery; so the question is asked as of then: `mark` first, `undelivered` afterwards.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row, scalar_row

from worker.declare.handler import Handler
from worker.errors import NotMigrated
from worker.log.reader import WANTED, wishes

CURSORS: LiteralString = """
select distinct on (shard) shard, shards, done::text as done, target::text as target, last_id
from hearken.cursors where handler = %s order by shard, seq desc
"""
ASIDE: LiteralString = (
    "select distinct key from hearken.parked where handler = %s and state <> 'dead' and key is not null"
)
# In the order of an index, or one transaction at a time; see `status`.
BY_INDEX: LiteralString = (
    "select set_config('enable_bitmapscan', 'off', true), set_config('enable_seqscan', 'off', true)"
)
SINCE: LiteralString = (
    """
select distinct key from unnest(%(topics)s::text[]) t (topic) cross join lateral (
    select * from hearken.unseen_events(t.topic, %(done)s::pg_snapshot)) e
where key = any(%(keys)s)
  and not hearken.passed(tx, id, %(done)s::pg_snapshot, %(target)s::pg_snapshot, %(last_id)s::bigint) and """
    + WANTED
)


@dataclass(frozen=True)
class Mark:
    """How far a handler's shards were, and which keys it had parked."""

    cursors: list[dict[str, Any]]
    aside: frozenset[str]


async def mark(connection: AsyncConnection[Any], handler: Handler) -> Mark:
    """How far the handler is now. Raises NotMigrated when it has no cursor: it would not be given what is sent."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        cursors = await (await cursor.execute(CURSORS, (handler.name,))).fetchall()
    if not cursors:
        raise NotMigrated(f"handler {handler.name} has no cursor yet: run `hearken migrate`")
    return Mark(cursors, await _aside(connection, handler))


async def undelivered(
    connection: AsyncConnection[Any], handler: Handler, since: Mark, keys: Collection[str]
) -> set[str]:
    """Those of the keys that had, at the mark or after it, an event that the handler was still to be given."""
    found = set(since.aside) | await _aside(connection, handler)
    wanted = {**wishes(handler), "keys": list(keys)}
    async with connection.transaction(), connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(BY_INDEX)
        for one in since.cursors:
            found.update(await (await cursor.execute(SINCE, {**one, **wanted})).fetchall())
    return found.intersection(keys)


async def _aside(connection: AsyncConnection[Any], handler: Handler) -> frozenset[str]:
    async with connection.cursor(row_factory=scalar_row) as cursor:
        return frozenset(await (await cursor.execute(ASIDE, (handler.name,))).fetchall())
