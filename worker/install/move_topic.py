"""A handler moves to another table, or its table was renamed: `enrolment` takes along what it has not had.

Those events are appended again under the new topic, for this handler alone and marked as replays; its cursor then
starts at now. That is done in batches, each in a transaction of its own, and goes on where it was if it is broken off.
Nobody delivers meanwhile: what the handler is declared as is stored as on its way, which is no code's declaration.
Writers of both tables wait for the last batch, so that nothing newer of a key comes first.
"""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg import AsyncConnection, sql
from psycopg.rows import scalar_row

from worker.capture.install import captures_for
from worker.declare.handler import Handler
from worker.doorbell.ring import ring
from worker.errors import MigrationError
from worker.install.declarations import store_declaration

# Events that are taken along in one transaction.
BATCH = 10_000

UNFINISHED: LiteralString = """
select exists(select from hearken.cursors c
              where c.handler = %(name)s and (c.target is not null or exists (
                  select from unnest(c.topics) t (topic)
                  cross join lateral hearken.unseen_events(t.topic, c.done, 1))))
       or exists(select from hearken.parked where handler = %(name)s)
"""
RELATIONS: LiteralString = """
select n.nspname || '.' || c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname || '.' || c.relname = any(%s) and c.relkind in ('r', 'p') order by 1
"""
HOLD_WRITERS = sql.SQL("lock table {} in share row exclusive mode")
NOW: LiteralString = "select pg_current_snapshot()::text"
UNDER_WAY: LiteralString = "select topic from hearken.moves where handler = %(name)s"
ABANDON: LiteralString = "delete from hearken.moves where handler = %(name)s"
BEGIN: LiteralString = """
insert into hearken.moves (handler, topic, heard, target, last_id)
select %(name)s, %(topic)s, %(heard)s, pg_current_snapshot(), coalesce(min(least(c.done_id, c.floor_id)), 0)
from hearken.cursors c where c.handler = %(name)s
"""
# A parked event keeps its place in hearken.parked, which finds it by topic and id. Its copy is for nobody: the cursor
# passes it.
MOVE_PARKED: LiteralString = """
with moving as (
    select p.event_id, p.topic from hearken.parked p where p.handler = %(name)s and p.topic <> %(topic)s
    order by p.event_id limit %(most)s),
copied as (
    insert into hearken.events (topic, op, key, old, new, origin, note, replay_of, target, left_out)
    select %(topic)s, e.op, e.key, e.old, e.new, e.origin, e.note, e.id, '{}', e.left_out
    from moving m join hearken.events e on e.topic = m.topic and e.id = m.event_id
    order by e.id
    returning id, replay_of)
update hearken.parked p set event_id = coalesce(c.id, m.event_id), topic = %(topic)s
from moving m left join copied c on c.replay_of = m.event_id
where p.handler = %(name)s and p.event_id = m.event_id
"""
# Back to where they were before a move that is given up.
RESTORE_PARKED: LiteralString = """
with moved as (
    select p.event_id, e.replay_of, m.heard[1] as topic
    from hearken.moves m join hearken.parked p on p.handler = m.handler and p.topic = m.topic
    left join hearken.events e on e.topic = p.topic and e.id = p.event_id
    where m.handler = %(name)s order by p.event_id limit %(most)s)
update hearken.parked p set event_id = coalesce(m.replay_of, m.event_id), topic = m.topic
from moved m where p.handler = %(name)s and p.event_id = m.event_id
"""
# A page of what was heard, in the order of the log; of it what the handler has not had. Of the former topics that is
# what its cursors have not passed; of the new one what the renamed table has written since they were last whole, which
# says nothing of their open windows, and not what a move has appended, this one or one that was given up.
MOVE_UNREAD: LiteralString = """
with page as materialized (
    select e.* from hearken.moves m cross join unnest(m.heard) t (topic) cross join lateral (
        select e.* from hearken.events e where e.topic = t.topic and e.id > m.last_id order by e.id limit %(most)s) e
    where m.handler = %(name)s order by e.id limit %(most)s),
copied as (
    insert into hearken.events (topic, op, key, old, new, origin, note, replay_of, target, left_out)
    select %(topic)s, u.op, u.key, u.old, u.new, u.origin, u.note, u.id, array[%(name)s], u.left_out
    from (select e.* from page e cross join hearken.moves m
          join hearken.cursors c on c.handler = m.handler
              and hearken.shard_of(hearken.slot_of(e.key), c.shards) = c.shard
          where m.handler = %(name)s and pg_visible_in_snapshot(e.tx, m.target)
            and not coalesce(pg_visible_in_snapshot(e.tx, m.seen), false)
            and not hearken.passed(e.tx, e.id, c.done, case when e.topic <> m.topic then c.target end, c.last_id)
            and not (e.topic = m.topic and e.replay_of is not null and e.target = array[c.handler])
            and e.origin is distinct from c.handler and (e.target is null or c.handler = any(e.target))
          order by e.id offset 0) u)
update hearken.moves m
set last_id = greatest(m.last_id, coalesce((select max(id) from page), 0)), copies = m.copies || pg_current_xact_id(),
    large = m.large or coalesce((select count(*) from page) = %(most)s, false)
where m.handler = %(name)s returning (select count(*) from page)
"""
IS_LARGE: LiteralString = "select large from hearken.moves where handler = %(name)s"
NEXT_ROUND: LiteralString = """
update hearken.moves m
set seen = m.target, target = pg_current_snapshot(), large = false,
    last_id = (select coalesce(u.first_id, 9223372036854775807) - 1 from hearken.unseen(m.heard, m.target) u)
where m.handler = %(name)s
"""
# As if what was appended had been in flight when the last round ended, and nothing else: the cursor sees that, and what
# comes from now on.
ARRIVE: LiteralString = """
with late as (
    select distinct x.tx from hearken.moves m cross join lateral (
        select pg_snapshot_xip(m.target) union all select unnest(m.copies)) x (tx)
    where m.handler = %(name)s and x.tx < pg_snapshot_xmax(m.target))
update hearken.cursors c
set topics = array[%(topic)s], target = null, last_id = 0, max_id = 0, done_id = 0, floor_id = 0,
    seen_id = 0, seen_tx = '0', seq = c.seq + 1,
    done = concat(least(pg_snapshot_xmin(m.target), (select tx from late order by tx limit 1)), ':',
                  pg_snapshot_xmax(m.target), ':',
                  (select string_agg(tx::text, ',' order by tx) from late))::pg_snapshot
from hearken.moves m where m.handler = %(name)s and c.handler = m.handler
"""
START: LiteralString = """
update hearken.cursors
set topics = array[%(topic)s], done = %(now)s::pg_snapshot, target = null, last_id = 0, max_id = 0, done_id = 0,
    floor_id = 0, seen_id = 0, seen_tx = '0', seq = seq + 1
where handler = %(name)s
"""
# What the brake saw is appended again, and judged again; until then its handler stays paused.
UNBRAKE: LiteralString = "delete from hearken.brakes where handler = %(name)s"


async def hold_writers(connection: AsyncConnection[Any], topics: list[str]) -> str:
    """Hold up those who write to these tables until the caller's transaction ends; returns the snapshot of now.

    Raises psycopg.errors.LockNotAvailable, InsufficientPrivilege.
    """
    async with connection.cursor(row_factory=scalar_row) as cursor:
        there = await (await cursor.execute(RELATIONS, (topics,))).fetchall()
    for topic in there:
        schema, _, name = topic.partition(".")
        await connection.execute(HOLD_WRITERS.format(sql.Identifier(schema, name)))
    now: str = await _one(connection, NOW)
    return now


async def start_anew(connection: AsyncConnection[Any], handler: Handler, before: list[str], now: str) -> None:
    """Point the handler's cursors at its topic from `now` on, where events cannot be taken along: one is no table's.

    Raises MigrationError where something is undelivered.
    """
    await _require_finished(connection, handler, before)
    await connection.execute(START, {**_about(handler), "now": now})


async def is_under_way(connection: AsyncConnection[Any], handler: Handler) -> bool:
    """Whether the move to the handler's topic has begun."""
    return bool(await _one(connection, UNDER_WAY, _about(handler)) == handler.topic)


async def begin(connection: AsyncConnection[Any], handler: Handler, before: list[str]) -> None:
    """Write down what is to be taken along. The caller has claimed the cursors."""
    renamed = [topic for topic in before if await captures_for(connection, topic, on=handler.topic)]
    heard = [*before, *([handler.topic] if renamed else [])]
    await store_declaration(connection, handler, moving=True)
    await connection.execute(BEGIN, {**_about(handler), "heard": heard})


async def go_on(connection: AsyncConnection[Any], handler: Handler, before: list[str]) -> bool:
    """Take a batch along; after the last one, point the cursors at the handler's topic. Returns whether that is done.

    Only for the last step the writers of both tables wait: for what they have written since the one before, and no more
    than a batch of it.
    """
    page = {**_about(handler), "most": BATCH}
    if (await connection.execute(MOVE_PARKED, page)).rowcount == BATCH:
        return False
    if await _one(connection, MOVE_UNREAD, page) == BATCH:
        return False
    if await _one(connection, IS_LARGE, page):
        await connection.execute(NEXT_ROUND, page)
        return False
    await hold_writers(connection, [*before, handler.topic])
    await connection.execute(NEXT_ROUND, page)
    if await _one(connection, MOVE_UNREAD, page) == BATCH:
        return False
    for statement in (ARRIVE, ABANDON, UNBRAKE):
        await connection.execute(statement, page)
    await store_declaration(connection, handler)
    await ring(connection, [handler.topic])
    return True


async def give_up(connection: AsyncConnection[Any], name: str) -> bool:
    """Give up the handler's move, if one has begun: a batch of what is parked goes back. Returns whether that is done.

    What was appended for it stays in the log; nobody is given that any more.
    """
    page = {"name": name, "most": BATCH}
    if (await connection.execute(RESTORE_PARKED, page)).rowcount == BATCH:
        return False
    await connection.execute(ABANDON, page)
    return True


def _about(handler: Handler) -> dict[str, Any]:
    return {"name": handler.name, "topic": handler.topic}


async def _require_finished(connection: AsyncConnection[Any], handler: Handler, before: list[str]) -> None:
    if await _one(connection, UNFINISHED, {"name": handler.name}):
        raise MigrationError(
            f"handler {handler.name} has undelivered or parked events of {', '.join(before)}, which cannot be events"
            f" of {handler.topic}: let its former code finish or skip them, then migrate"
        )


async def _one(connection: AsyncConnection[Any], query: LiteralString, values: dict[str, Any] | None = None) -> Any:
    async with connection.cursor(row_factory=scalar_row) as cursor:
        return await (await cursor.execute(query, values)).fetchone()
