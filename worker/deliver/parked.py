"""Parked events: `due` again at a time, `running`, `held` behind an earlier one of their key, or `dead` until a person
looks.

Written in the batch's own transaction, so an event is either before its cursor or in here, never nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from worker.change import Change, Identity
from worker.declare.handler import Handler
from worker.log.reader import INLINE, WEIGHT, to_change

MOST_ATTEMPTS = 2**31 - 1  # what the column holds; a handler may retry for ever

# A handler may have very many parked, after a day without its destination, and a session may have made its plan when
# there were none. So the rows of a key are found by `slot`, its hash (keys may be null, and `is not distinct from` uses
# no index), one key or event at a time, and then written by their place: that leaves the planner one way only.

# The due ones, each with those held behind it, so that a key catches up in one go.
DUE: LiteralString = (
    """
with due as materialized (
    select p.event_id, p.topic, p.key, p.slot, p.attempt, p.starts from hearken.parked p
    where p.handler = %(handler)s and p.state = 'due' and p.due_at <= now()
      and hearken.shard_of(p.slot, %(shards)s) = %(shard)s
    order by p.due_at limit %(limit)s),
ready as materialized (
    select event_id, topic, key, attempt, starts from due
    union all
    select held.event_id, held.topic, held.key, held.attempt, held.starts from due
    cross join lateral (
        select * from hearken.parked h
        where h.handler = %(handler)s and h.slot = due.slot and h.event_id > due.event_id
          and h.state = 'held' and h.topic = due.topic and h.key is not distinct from due.key
        order by h.event_id limit %(limit)s) held
    order by event_id limit %(limit)s)
select event_id, at, topic, coalesce(op, ''), key, case when weight <= %(inline)s then old::text end,
       case when weight <= %(inline)s then new::text end, case when weight <= %(inline)s then note::text end,
       replay_of, attempt, case when weight > %(inline)s then weight end, starts
from (
    select r.event_id, r.topic, r.key, r.attempt, r.starts, e.at, e.op, e.old, e.new, e.note, e.replay_of, """
    + WEIGHT
    + """ as weight
    from ready r left join hearken.events e on e.topic = r.topic and e.id = r.event_id offset 0) e
order by event_id
"""
)
KEYS: LiteralString = """
select n.topic, n.key, p.state = 'running' from unnest(%(topic)s::text[], %(key)s::text[]) as n (topic, key)
cross join lateral (
    select p.state from hearken.parked p
    where p.handler = %(handler)s and p.slot = hearken.slot_of(n.key)
      and p.topic = n.topic and p.key is not distinct from n.key
    order by p.event_id limit 1) p
"""
PUT: LiteralString = """
insert into hearken.parked (handler, event_id, topic, key, state, attempt, due_at, reason, error, worker, starts)
select %(handler)s, p.event_id, p.topic, p.key, p.state, p.attempt, now() + make_interval(secs => p.delay), p.reason,
       p.error, case when p.state = 'running' then %(worker)s::bigint end, p.starts
from unnest(%(event_id)s::bigint[], %(topic)s::text[], %(key)s::text[], %(state)s::text[], %(attempt)s::int[],
            %(delay)s::float8[], %(reason)s::text[], %(error)s::text[], %(starts)s::int[])
     as p (event_id, topic, key, state, attempt, delay, reason, error, starts)
on conflict (handler, event_id) do update
set state = excluded.state, attempt = excluded.attempt, due_at = excluded.due_at, worker = excluded.worker,
    starts = excluded.starts,
    reason = case when excluded.state = 'running' then parked.reason else excluded.reason end,
    error = case when excluded.state = 'running' then parked.error else excluded.error end
"""
REMOVE: LiteralString = """
delete from hearken.parked where ctid = any(array(
    select p.ctid from unnest(%(event_id)s::bigint[]) as n (id)
    cross join lateral (
        select p.ctid from hearken.parked p where p.handler = %(handler)s and p.event_id = n.id offset 0) p))
"""
SUPERSEDE: LiteralString = """
delete from hearken.parked where ctid = any(array(
    select p.ctid from unnest(%(topic)s::text[], %(key)s::text[], %(event_id)s::bigint[]) as n (topic, key, id)
    cross join lateral (
        select p.ctid, p.topic, p.key, p.event_id from hearken.parked p
        where p.handler = %(handler)s and p.slot = hearken.slot_of(n.key) and p.state <> 'running' offset 0) p
    where p.topic = n.topic and p.key is not distinct from n.key and p.event_id < n.id))
"""
# The first parked event of a key must not be a held one: what held it is gone.
PROMOTE: LiteralString = """
update hearken.parked set state = 'due', due_at = now() where ctid = any(array(
    select first.ctid from unnest(%(topic)s::text[], %(key)s::text[]) as n (topic, key)
    cross join lateral (
        select p.ctid, p.state from hearken.parked p
        where p.handler = %(handler)s and p.slot = hearken.slot_of(n.key)
          and p.topic = n.topic and p.key is not distinct from n.key
        order by p.event_id limit 1) first
    where first.state = 'held'))
"""


@dataclass(frozen=True)
class Parking:
    """One event to park. `delay` is in seconds; `attempt` counts the failed ones so far, `starts` see `suspicion`."""

    change: Change
    state: str
    attempt: int
    delay: float = 0.0
    reason: str | None = None
    error: str | None = None
    starts: int = 0


async def read_due(
    connection: AsyncConnection[Any], handler: Handler, shard: int, size: int, inline: int = INLINE
) -> tuple[list[Change], dict[int, int], dict[int, int]]:
    """Parked events whose time has come, with those held behind them, in order of the log.

    And which of them have come without their rows, as those of `reader.read_batch`; and how often those were begun that
    may have ended a worker.
    """
    asked = {"handler": handler.name, "shards": handler.shards, "shard": shard, "limit": size, "inline": inline}
    async with connection.cursor(row_factory=tuple_row) as cursor:
        rows = await (await cursor.execute(DUE, asked)).fetchall()
    changes = [replace(to_change(row), attempt=min(row[9] + 1, MOST_ATTEMPTS)) for row in rows]
    heavy = {row[0]: row[10] for row in rows if row[10] is not None and row[3]}
    return changes, heavy, {row[0]: row[11] for row in rows if row[11]}


async def parked_keys(
    connection: AsyncConnection[Any], handler: str, changes: Sequence[Change]
) -> dict[Identity, bool]:
    """The keys of these changes that have something parked, and whether that is running."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(KEYS, {"handler": handler, **_columns({change.identity for change in changes})})
        return {(topic, key): running for topic, key, running in await cursor.fetchall()}


async def behind_parked(
    connection: AsyncConnection[Any], handler: Handler, changes: Sequence[Change]
) -> tuple[list[Change], list[Change]]:
    """Which of these wait behind a parked event of their key, and which take its place.

    For a level-triggered handler the newer event takes its place, unless it is running.
    """
    keys = await parked_keys(connection, handler.name, changes)
    behind = [change for change in changes if change.identity in keys]
    if not handler.fold:
        return behind, []
    return [change for change in behind if keys[change.identity]], behind


async def park(
    connection: AsyncConnection[Any], handler: str, parkings: Sequence[Parking], worker: int | None = None
) -> None:
    """Put events aside, or put them back with a new state; `worker` runs those that are running."""
    if not parkings:
        return
    await connection.execute(
        PUT,
        {
            "handler": handler,
            "event_id": [p.change.id for p in parkings],
            "topic": [p.change.topic for p in parkings],
            "key": [p.change.key for p in parkings],
            "state": [p.state for p in parkings],
            "attempt": [p.attempt for p in parkings],
            "delay": [p.delay for p in parkings],
            "reason": [p.reason for p in parkings],
            "error": [p.error for p in parkings],
            "worker": worker,
            "starts": [p.starts for p in parkings],
        },
    )


async def unpark(connection: AsyncConnection[Any], handler: str, changes: Sequence[Change]) -> None:
    """Remove delivered events, and make the next of their keys due."""
    await connection.execute(REMOVE, {"handler": handler, "event_id": [change.id for change in changes]})
    await connection.execute(PROMOTE, {"handler": handler, **_columns({change.identity for change in changes})})


async def supersede(connection: AsyncConnection[Any], handler: str, changes: Sequence[Change]) -> int:
    """Drop parked events that are older than these changes of the same keys; returns how many."""
    dropped = await connection.execute(
        SUPERSEDE,
        {
            "handler": handler,
            "topic": [change.topic for change in changes],
            "key": [change.key for change in changes],
            "event_id": [change.id for change in changes],
        },
    )
    return dropped.rowcount


def _columns(keys: set[Identity]) -> dict[str, list[str | None]]:
    return {"topic": [topic for topic, _ in keys], "key": [key for _, key in keys]}
