"""The log for people: past events by what they are about, and new ones as they are committed.

Reading for handlers is in `log.reader`. What is found here is what `replay` appends again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row, scalar_row

from worker.change import Op
from worker.doorbell.bell import Doorbell
from worker.doorbell.waiting import wait_until_set
from worker.log.lookups import find_by_key

# There is no index on topic alone: each step of this jumps to the next topic in (topic, id).
TOPICS: LiteralString = """
with recursive topics (topic) as (
    (select topic from hearken.events order by topic limit 1)
    union all
    select (select e.topic from hearken.events e where e.topic > t.topic order by e.topic limit 1)
    from topics t where t.topic is not null)
select topic from topics where topic is not null
union
select unnest(topics) from hearken.cursors
order by topic
"""
COLUMNS: LiteralString = """
    e.id, e.at, e.topic, e.op, e.key, e.origin, e.replay_of, e.target, e.note::text as note_json,
    case when %(rows)s then e.old::text end as old_json, case when %(rows)s then e.new::text end as new_json
"""
MATCHES: LiteralString = """
    (%(ids)s::bigint[] is null or e.id = any(%(ids)s)) and (%(key)s::text is null or e.key = %(key)s)
    and (%(op)s::text is null or e.op = %(op)s)
    and (%(since)s::timestamptz is null or e.at >= %(since)s) and (%(until)s::timestamptz is null or e.at < %(until)s)
"""
NEWEST: LiteralString = (
    "select found.* from unnest(%(topics)s::text[]) t (topic) cross join lateral (select "
    + COLUMNS
    + " from hearken.events e where e.topic = t.topic and "
    + MATCHES
    + " order by e.id desc limit %(limit)s) found order by found.id desc limit %(limit)s"
)
# As a cursor's window (see `log.reader`): what the last snapshot did not see.
UNSEEN: LiteralString = (
    "select "
    + COLUMNS
    + """ from unnest(%(topics)s::text[]) t (topic) cross join lateral (
    select * from hearken.unseen_events(t.topic, %(seen)s::pg_snapshot)) e
where """
    + MATCHES
    + " order by e.id"
)
CONSISTENT: LiteralString = "set transaction isolation level repeatable read read only"
SNAPSHOT: LiteralString = "select pg_current_snapshot()::text"
# How many events are held in memory at once while following.
PAGE = 500


@dataclass(frozen=True)
class Filter:
    """Which events: all that is given must hold. `since` is included, `until` is not."""

    topics: Sequence[str]
    ids: Sequence[int] | None = None
    key: str | None = None
    op: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event as it stands in the log. `old_json` and `new_json` are the row's values: only read when asked for."""

    id: int
    at: datetime
    topic: str
    op: Op
    key: str | None
    origin: str | None
    replay_of: int | None
    target: list[str] | None
    note_json: str | None
    old_json: str | None
    new_json: str | None

    def __repr__(self) -> str:
        return f"Event(id={self.id}, topic={self.topic!r}, op={self.op!r}, key={self.key!r})"


async def known_topics(connection: AsyncConnection[Any]) -> list[str]:
    """The topics that have events, or a handler with a cursor."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        return await (await cursor.execute(TOPICS)).fetchall()


async def find_events(
    connection: AsyncConnection[Any], wanted: Filter, *, limit: int, rows: bool = False
) -> list[Event]:
    """The newest events that match, oldest of them first; with `rows` their old and new values too."""
    if wanted.key is not None and wanted.ids is None:
        ids = await find_by_key(
            connection,
            wanted.topics,
            wanted.key,
            op=wanted.op,
            since=wanted.since,
            until=wanted.until,
            limit=limit,
        )
        wanted = replace(wanted, ids=ids)
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(NEWEST, {**_parameters(wanted, rows=rows), "limit": limit})
        return [Event(**row) for row in reversed(await cursor.fetchall())]


async def follow_events(
    connection: AsyncConnection[Any], doorbell: Doorbell, wanted: Filter, *, last: int, rows: bool = False
) -> AsyncIterator[Event]:
    """The `last` events that match and then every one that is committed, each once, until cancelled.

    `doorbell` must be running, for the filter's topics. Begins transactions of its own. Raises psycopg.Error.
    """
    async with connection.transaction():
        await connection.execute(CONSISTENT)
        seen = await _snapshot(connection)
        past = await find_events(connection, wanted, limit=last, rows=rows) if last else []
    for event in past:
        yield event
    bell = asyncio.Event()
    while True:
        bell.clear()
        async with doorbell.asleep(wanted.topics, bell) as sleep:
            async with connection.transaction():
                await connection.execute(CONSISTENT)
                before, seen = seen, await _snapshot(connection)
                async for event in _unseen(connection, wanted, before, rows=rows):
                    yield event
            await wait_until_set(bell, sleep.patience)


async def _unseen(connection: AsyncConnection[Any], wanted: Filter, seen: str, *, rows: bool) -> AsyncIterator[Event]:
    async with connection.cursor("unseen", row_factory=dict_row) as cursor:
        cursor.itersize = PAGE
        await cursor.execute(UNSEEN, {**_parameters(wanted, rows=rows), "seen": seen})
        async for row in cursor:
            yield Event(**row)


async def _snapshot(connection: AsyncConnection[Any]) -> str:
    async with connection.cursor(row_factory=scalar_row) as cursor:
        (snapshot,) = await (await cursor.execute(SNAPSHOT)).fetchall()
    return str(snapshot)


def _parameters(wanted: Filter, *, rows: bool) -> dict[str, Any]:
    values = {field.name: getattr(wanted, field.name) for field in fields(wanted)}
    lists = {name: list(value) for name, value in values.items() if isinstance(value, list | tuple)}
    return {**values, **lists, "rows": rows}
