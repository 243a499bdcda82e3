"""Cursors, and schedules, for the declared handlers: made by `hearken migrate`, before triggers fill the log for them.

A new handler starts at now. A renamed one takes over its old cursor, or the events in between would be lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from worker.declare.cron import Schedule
from worker.declare.handler import Handler
from worker.errors import MigrationError
from worker.postgres.database import CLUSTER
from worker.postgres.locks import claim_lock, migration_lock
from worker.sources import timetable

CURSORS: LiteralString = """
select c.handler, max(c.shards) as shards, (array_agg(to_json(c.topics)))[1] as topics,
       s.name, s.cron, s.tz, s.catch_up
from hearken.cursors c left join hearken.schedules s using (handler) group by c.handler, s.handler
"""
RENAME: tuple[LiteralString, ...] = (
    "update hearken.cursors set handler = %(name)s where handler = %(formerly)s",
    "update hearken.parked set handler = %(name)s where handler = %(formerly)s",
    "update hearken.paused set handler = %(name)s where handler = %(formerly)s",
    "update hearken.brakes set handler = %(name)s where handler = %(formerly)s",
    "update hearken.schedules set handler = %(name)s where handler = %(formerly)s",
)
ADD: LiteralString = (
    """
insert into hearken.cursors (handler, shard, shards, topics, done, cluster)
select %(name)s, shard, %(shards)s, %(topics)s, coalesce(%(done)s::pg_snapshot, pg_current_snapshot()), """
    + CLUSTER
    + """
from generate_series(0, %(shards)s - 1) shard
where not exists (select from hearken.cursors where handler = %(name)s)
"""
)
LOCK: LiteralString = "select pg_advisory_xact_lock(%s)"
# A cursor moves by delete and insert: whoever is about to commit a move is waited for, or its row would be missed.
HOLD_STILL: LiteralString = "lock table hearken.cursors in share row exclusive mode"
TOPICS: LiteralString = "update hearken.cursors set topics = %(topics)s where handler = %(name)s"
TRY_CLAIM: LiteralString = "select pg_try_advisory_xact_lock(%s) as claimed"
UNFINISHED: LiteralString = """
select pg_current_snapshot()::text as now, bool_or(c.target is not null or u.first_id is not null) as unfinished
from hearken.cursors c cross join lateral hearken.unseen(c.topics, c.done) u where c.handler = %s
"""
REMOVE: LiteralString = "delete from hearken.cursors where handler = %s"


@dataclass(frozen=True)
class Enrolment:
    """One thing to do about a handler's cursors."""

    handler: Handler
    action: str  # add, rename, reshard, schedule, topics
    text: str


@dataclass(frozen=True)
class Enrolled:
    """A handler that has cursors, as the database knows it."""

    name: str
    shards: int
    topics: list[str]
    schedule: Schedule | None = None


async def enrolled(connection: AsyncConnection[Any]) -> dict[str, Enrolled]:
    """The handlers that have cursors, by name."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(CURSORS)
        return {row["handler"]: _enrolled(row) for row in await cursor.fetchall()}


def _enrolled(row: dict[str, Any]) -> Enrolled:
    schedule = None if row["name"] is None else Schedule(row["name"], row["cron"], row["tz"], row["catch_up"])
    return Enrolled(row["handler"], row["shards"], row["topics"], schedule)


def plan_enrolment(handlers: Iterable[Handler], known: dict[str, Enrolled]) -> list[Enrolment]:
    """What to do so that each handler has its cursors.

    Raises MigrationError when a new handler looks like a renamed one: guessing either way could lose events.
    """
    declared = {handler.name: handler for handler in handlers}
    plan: list[Enrolment] = []
    for handler in declared.values():
        before = known.get(handler.name)
        if before is None and handler.formerly in known:
            plan.append(Enrolment(handler, "rename", f"takes over the cursor of {handler.formerly}"))
        elif before is None:
            _refuse_renamed(handler, [e for e in known.values() if e.name not in declared])
            plan.append(Enrolment(handler, "add", f"new, receives {handler.topic} from now on"))
        elif before.shards != handler.shards:
            plan.append(Enrolment(handler, "reshard", f"from {before.shards} to {handler.shards} shards"))
        elif before.schedule != handler.schedule:
            plan.append(Enrolment(handler, "schedule", _described(handler.schedule)))
        elif before.topics != [handler.topic]:
            plan.append(Enrolment(handler, "topics", f"receives {handler.topic}"))
    return plan


def _described(schedule: Schedule | None) -> str:
    if schedule is None:
        return "has no schedule any more"
    return f"ticks as {schedule.name} at {schedule.cron!r} {schedule.tz}, catch_up {schedule.catch_up}"


def _refuse_renamed(handler: Handler, gone: list[Enrolled]) -> None:
    taken_over = {handler.formerly}
    for other in gone:
        if other.name not in taken_over and handler.topic in other.topics:
            raise MigrationError(
                f"handler {handler.name} is new and {other.name} is gone, both on {handler.topic}:"
                f" if it was renamed, declare formerly={other.name!r};"
                f" if {other.name} was removed for good, run `hearken forget {other.name}`"
            )


async def enrol(connection: AsyncConnection[Any], enrolment: Enrolment) -> None:
    """Carry one out, in a transaction of its own. Raises MigrationError."""
    handler = enrolment.handler
    values = {"name": handler.name, "formerly": handler.formerly, "shards": handler.shards, "topics": [handler.topic]}
    async with connection.transaction():
        await connection.execute(LOCK, (migration_lock(),))
        await connection.execute(HOLD_STILL)
        if enrolment.action == "rename":
            for statement in RENAME:
                await connection.execute(statement, values)
        elif enrolment.action == "reshard":
            done = await _drained(connection, handler)
            await connection.execute(REMOVE, (handler.name,))
            await connection.execute(ADD, {**values, "done": done})
        elif enrolment.action == "add":
            await connection.execute(ADD, {**values, "done": None})
        if enrolment.action in ("add", "rename", "schedule"):
            await timetable.put(connection, handler)
            await timetable.carry_over(connection, handler)
        await connection.execute(TOPICS, values)


async def _drained(connection: AsyncConnection[Any], handler: Handler) -> str:
    """A snapshot up to which every old shard is done: only then are the new ones' cursors known exactly."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        before = (await enrolled(connection))[handler.name].shards
        for shard in range(before):
            await cursor.execute(TRY_CLAIM, (claim_lock(handler.name, shard),))
            row = await cursor.fetchone()
            if row is None or not row["claimed"]:
                raise MigrationError(f"handler {handler.name} is running: stop its workers, then migrate its shards")
        await cursor.execute(UNFINISHED, (handler.name,))
        row = await cursor.fetchone()
    if row is None or row["unfinished"]:
        raise MigrationError(
            f"handler {handler.name} has undelivered events: let it finish with {before} shards first, then migrate"
        )
    done: str = row["now"]
    return done
