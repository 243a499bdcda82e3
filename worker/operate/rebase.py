"""Taking over the cursors of a restored dump: their snapshots count the transactions of another database.

What a cursor has not seen is known from its own numbers and from those in the log, which came along. It is appended
again for that cursor's handler, in order, and the cursor starts at now.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection, errors
from psycopg.rows import dict_row

from worker.declare.handler import of_engine
from worker.doorbell.ring import ring
from worker.errors import DatabaseError
from worker.install.move_topic import give_up
from worker.operate.audit import ActionSubject, Actor, record_action
from worker.postgres.database import CLUSTER

# Nobody may append meanwhile: a change would come before older ones of its key, which are appended again only now.
LOCK_TIMEOUT: LiteralString = "set local lock_timeout = '5s'"
LOCK: LiteralString = "lock table only hearken.events in share row exclusive mode"
FOREIGN: LiteralString = (
    "select handler, shard from hearken.cursors where cluster <> " + CLUSTER + " order by handler, shard"
)
# Taken before this transaction has an id, so that what it appends is not visible in `now`.
NOW: LiteralString = "select pg_current_snapshot()::text as now, (select max(id) from hearken.events) as last"
# Events appended since the restore have numbers of this database, which say nothing in a cursor of another. Their ids
# are above those of every event that a cursor can have seen, which was captured before the cursor last moved.
APPEND: LiteralString = (
    "with strangers as (select * from hearken.cursors where cluster <> "
    + CLUSTER
    + """),
known as (select coalesce(max(id), 0) as id from hearken.events where at <= (select max(moved_at) from strangers)),
appended as (
    insert into hearken.events (topic, op, key, old, new, origin, note, replay_of, target, left_out)
    select e.topic, e.op, e.key, e.old, e.new, e.origin, e.note, e.id, u.handlers, e.left_out
    from hearken.events e cross join known cross join lateral (
        select array_agg(distinct c.handler) as handlers from strangers c
        where e.topic = any(c.topics) and e.origin is distinct from c.handler
          and (e.target is null or c.handler = any(e.target))
          and hearken.shard_of(hearken.slot_of(e.key), c.shards) = c.shard
          and (e.id > known.id or not hearken.passed(e.tx, e.id, c.done, c.target, c.last_id))) u
    where u.handlers is not null order by e.id
    returning topic, target)
select topic, handler, count(*) as events from appended, unnest(target) handler group by topic, handler
"""
)
# Old events with a number that is yet to come here would look unseen, to every handler. This is the one time that the
# log is updated; 3 is the first number there is, long past in every database.
SETTLE: LiteralString = """
update hearken.events set tx = '3' where id <= %(last)s and not pg_visible_in_snapshot(tx, %(now)s::pg_snapshot)
"""
MOVE: LiteralString = (
    "update hearken.cursors set done = %(now)s::pg_snapshot, target = null, last_id = 0, max_id = 0,"
    " done_id = 0, floor_id = 0, seen_id = 0, seen_tx = '0', moved_at = clock_timestamp(),"
    " cluster = " + CLUSTER + " where cluster <> " + CLUSTER
)
# Where cursors stood, and how far moves have come, is recorded in transactions of the other database.
MOVING: LiteralString = "select handler from hearken.moves"
FORGET_FORMER: LiteralString = "delete from hearken.former_declarations"
# So is what the brake saw. Its events are among those appended again, and are judged again; until then their handler
# stays paused.
UNBRAKE: LiteralString = "delete from hearken.brakes where handler = any(%s)"


@dataclass(frozen=True)
class Rebased:
    """The cursors taken over (handler, shard), and how many events were appended again for each handler.

    The engine's own handlers are not counted.
    """

    cursors: list[tuple[str, int]]
    appended: dict[str, int]


async def foreign_cursors(connection: AsyncConnection[Any]) -> list[tuple[str, int]]:
    """The cursors (handler, shard) that another database has written."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        return [(row["handler"], row["shard"]) for row in await (await cursor.execute(FOREIGN)).fetchall()]


async def rebase(connection: AsyncConnection[Any], actor: Actor) -> Rebased:
    """Take all of them over, in one transaction; writers of watched tables wait for it. Reads the whole log.

    Raises DatabaseError when there are none, or when a writer's transaction does not end.
    """
    async with connection.transaction():
        await _lock(connection)
        cursors = await foreign_cursors(connection)
        if not cursors:
            raise DatabaseError("every cursor was written in this database: there is nothing to rebase")
        async with connection.cursor(row_factory=dict_row) as cursor:
            (position,) = await (await cursor.execute(NOW)).fetchall()
            appended = await (await cursor.execute(APPEND)).fetchall()
            await cursor.execute(SETTLE, position)
            await cursor.execute(MOVE, position)
        counts: Counter[str] = Counter({handler: 0 for handler, _ in cursors if not of_engine(handler)})
        for row in appended:
            if row["handler"] in counts:
                counts[row["handler"]] += row["events"]
        await connection.execute(FORGET_FORMER)
        await _give_up_moves(connection)
        await connection.execute(UNBRAKE, (list(counts),))
        subjects = [ActionSubject(handler, details={"appended": count}) for handler, count in counts.items()]
        await record_action(connection, "rebase", subjects, actor)
        await ring(connection, {row["topic"] for row in appended})
    return Rebased(cursors, dict(counts))


async def _give_up_moves(connection: AsyncConnection[Any]) -> None:
    async with connection.cursor(row_factory=dict_row) as cursor:
        moving = await (await cursor.execute(MOVING)).fetchall()
    for row in moving:
        while not await give_up(connection, row["handler"]):
            pass


async def _lock(connection: AsyncConnection[Any]) -> None:
    try:
        await connection.execute(LOCK_TIMEOUT)
        await connection.execute(LOCK)
    except errors.LockNotAvailable as error:
        raise DatabaseError(
            "could not lock the log within 5 s, as a transaction that wrote to a watched table is still open:"
            " end it, then rebase again"
        ) from error
