"""A handler moves to another table, or its table was renamed: `enrolment` takes along what it has not had.

Those events are appended again under the new topic, for this handler alone and marked as replays; its cursor then
starts at now. Writers of both tables wait meanwhile, so that nothing newer of a key comes first.
"""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg import AsyncConnection, sql
from psycopg.rows import scalar_row

from worker.capture.install import captures_for
from worker.declare.handler import SOURCES, Handler
from worker.doorbell.ring import ring
from worker.errors import MigrationError

UNFINISHED: LiteralString = """
select exists(select from hearken.cursors c cross join lateral hearken.unseen(c.topics, c.done) u
              where c.handler = %(name)s and (c.target is not null or u.first_id is not null))
       or exists(select from hearken.parked where handler = %(name)s)
"""
RELATIONS: LiteralString = """
select n.nspname || '.' || c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname || '.' || c.relname = any(%s) and c.relkind in ('r', 'p') order by 1
"""
HOLD_WRITERS = sql.SQL("lock table {} in share row exclusive mode")
# Taken before this transaction has an id, so that what it appends is not visible in it.
NOW: LiteralString = "select pg_current_snapshot()::text"
# A parked event keeps its place in hearken.parked, which finds it by topic and id. Its copy is for nobody: the cursor
# passes it.
MOVE_PARKED: LiteralString = """
with copied as (
    insert into hearken.events (topic, op, key, old, new, origin, note, replay_of, target)
    select %(topic)s, e.op, e.key, e.old, e.new, e.origin, e.note, e.id, '{}'
    from hearken.parked p join hearken.events e on e.topic = p.topic and e.id = p.event_id
    where p.handler = %(name)s order by e.id
    returning id, replay_of)
update hearken.parked p set event_id = c.id from copied c where p.handler = %(name)s and p.event_id = c.replay_of
"""
RENAME_PARKED: LiteralString = "update hearken.parked set topic = %(topic)s where handler = %(name)s"
# Of the former topics what the cursors have not passed; of the new one what the renamed table has written since, of
# which no cursor has passed any.
MOVE_UNREAD: LiteralString = """
insert into hearken.events (topic, op, key, old, new, origin, note, replay_of, target)
select %(topic)s, u.op, u.key, u.old, u.new, u.origin, u.note, u.id, array[%(name)s]
from (select e.* from hearken.cursors c cross join unnest(%(heard)s::text[]) t (topic)
      cross join lateral hearken.unseen_events(t.topic, c.done) e
      where c.handler = %(name)s and hearken.shard_of(hearken.slot_of(e.key), c.shards) = c.shard
        and (e.topic = %(topic)s or not hearken.passed(e.tx, e.id, c.done, c.target, c.last_id))
        and e.origin is distinct from c.handler and (e.target is null or c.handler = any(e.target))
      order by e.id offset 0) u
"""
START: LiteralString = """
update hearken.cursors
set topics = array[%(topic)s], done = %(now)s::pg_snapshot, target = null, last_id = 0, max_id = 0, seq = seq + 1
where handler = %(name)s
"""
# What the brake saw is appended again, and judged again; until then its handler stays paused.
UNBRAKE: LiteralString = "delete from hearken.brakes where handler = %(name)s"


async def hold_writers(connection: AsyncConnection[Any], topics: list[str]) -> str:
    """Hold up those who write to these tables until the caller's transaction ends; returns the snapshot of now.

    Call it before the transaction has written anything. Raises psycopg.errors.LockNotAvailable, InsufficientPrivilege.
    """
    async with connection.cursor(row_factory=scalar_row) as cursor:
        there = await (await cursor.execute(RELATIONS, (topics,))).fetchall()
    for topic in there:
        schema, _, name = topic.partition(".")
        await connection.execute(HOLD_WRITERS.format(sql.Identifier(schema, name)))
    now: str = await _one(connection, NOW)
    return now


async def take_along(connection: AsyncConnection[Any], handler: Handler, before: list[str], now: str) -> None:
    """Point the handler's cursors at its topic from `now` on; append again what they have not had of those before.

    In the caller's transaction, which has claimed the cursors and holds the writers. Raises MigrationError where one of
    the topics is no table and something is undelivered.
    """
    about = {"name": handler.name, "topic": handler.topic, "now": now}
    if any(topic.startswith(SOURCES) for topic in (*before, handler.topic)):
        await _require_finished(connection, handler, before)
        await connection.execute(START, about)
        return
    renamed = [topic for topic in before if await captures_for(connection, topic, on=handler.topic)]
    await connection.execute(MOVE_PARKED, about)
    await connection.execute(RENAME_PARKED, about)
    await connection.execute(MOVE_UNREAD, {**about, "heard": [*before, *([handler.topic] if renamed else [])]})
    await connection.execute(START, about)
    await connection.execute(UNBRAKE, about)
    await ring(connection, [handler.topic])


async def _require_finished(connection: AsyncConnection[Any], handler: Handler, before: list[str]) -> None:
    if await _one(connection, UNFINISHED, {"name": handler.name}):
        raise MigrationError(
            f"handler {handler.name} has undelivered or parked events of {', '.join(before)}, which cannot be events"
            f" of {handler.topic}: let its former code finish or skip them, then migrate"
        )


async def _one(connection: AsyncConnection[Any], query: LiteralString, values: dict[str, Any] | None = None) -> Any:
    async with connection.cursor(row_factory=scalar_row) as cursor:
        return await (await cursor.execute(query, values)).fetchone()
