"""Finds the events of one key, for people (`operate.events`, `operate.explain`), and keeps the index that this takes.

Each partition has a block range index on the key, 1 % as large as its events, that says which ranges of pages can hold
a key. Appending costs it nothing: what is new is read whole until it is summarized, by vacuum, which Postgres starts
for every twentieth of a partition, or by `retention` each hour. The function hearken.events_of_key looks up.

A day that has no such index, made by an earlier version, gets it when it is over: nobody writes to it any more, so it
is built in one transaction that takes a moment. CREATE INDEX CONCURRENTLY would wait for every open transaction, and
leave an invalid index behind when it gave up.

Only the owner may do either, as with partitions: others leave it to vacuum, and to `hearken migrate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection, sql
from psycopg.rows import scalar_row

FIND: LiteralString = """
select f.id from unnest(%(topics)s::text[]) t (topic)
cross join lateral hearken.events_of_key(t.topic, %(key)s, %(op)s, %(since)s, %(until)s, %(limit)s) f (id)
order by f.id desc limit %(limit)s
"""
# Small ranges, since a key's events lie scattered. As many different keys to a range as its rows could have at most.
INDEX = sql.SQL(
    "create index {} on {} using brin (key text_bloom_ops (n_distinct_per_range = -0.2)) with (pages_per_range = 16)"
)
# Less than `deadlock_timeout`, after which a vacuum that is at work would be cancelled for this.
LOCK_TIMEOUT: LiteralString = "set local lock_timeout = '500ms'"
# Later days than today are empty.
SUMMARIZE: LiteralString = """
select brin_summarize_new_values(c.oid)
from pg_catalog.pg_class c
where c.relnamespace = 'hearken'::regnamespace and c.relkind = 'i' and pg_has_role(c.relowner, 'usage')
  and c.relname in (to_char(now() at time zone 'UTC', '"events_"YYYYMMDD"_key"'),
                    to_char(now() at time zone 'UTC' - interval '1 day', '"events_"YYYYMMDD"_key"'),
                    'events_default_key')
order by c.relname
"""
UNINDEXED: LiteralString = """
select c.relname::text from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
where i.inhparent = 'hearken.events'::regclass and pg_has_role(c.relowner, 'usage')
  and c.relname between 'events_00000000' and to_char(now() at time zone 'UTC' - interval '1 day', '"events_"YYYYMMDD')
  and to_regclass(format('hearken.%I', c.relname || '_key')) is null
order by c.relname desc limit 1
"""


async def find_by_key(
    connection: AsyncConnection[Any],
    topics: Sequence[str],
    key: str,
    *,
    op: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int,
) -> list[int]:
    """The ids of the newest events of the key in these topics, the newest first."""
    wanted = {"topics": list(topics), "key": key, "op": op, "since": since, "until": until, "limit": limit}
    async with connection.cursor(row_factory=scalar_row) as cursor:
        return await (await cursor.execute(FIND, wanted)).fetchall()


def index_statement(partition: str) -> sql.Composed:
    """What makes the index of a partition."""
    return INDEX.format(sql.Identifier(f"{partition}_key"), sql.Identifier("hearken", partition))


async def summarize(connection: AsyncConnection[Any]) -> None:
    """Let the index know what was appended. Raises psycopg.errors.LockNotAvailable."""
    async with connection.transaction():
        await connection.execute(LOCK_TIMEOUT)
        await connection.execute(SUMMARIZE)


async def unindexed_day(connection: AsyncConnection[Any]) -> str | None:
    """The newest partition of a day that is over and has no index on its keys."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        found = await (await cursor.execute(UNINDEXED)).fetchall()
    return found[0] if found else None
