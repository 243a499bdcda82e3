"""Cursors, and schedules, for the declared handlers: made by `hearken migrate`, before triggers fill the log for them.

A new handler starts at now. A renamed one takes over its old cursor, or the events in between would be lost.
One that is declared otherwise keeps its place: what its cursors have not passed is judged by the new declaration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection, errors
from psycopg.rows import dict_row

from worker.declare.cron import Schedule
from worker.declare.declaration import declaration_of, describe_difference
from worker.declare.handler import SOURCES, Handler
from worker.errors import MigrationError
from worker.install import move_topic
from worker.install.declarations import store_declaration
from worker.log.cursors import keep_former
from worker.postgres.database import CLUSTER
from worker.postgres.locks import claim_lock, migration_lock
from worker.sources import timetable

CURSORS: LiteralString = """
select c.handler, max(c.shards) as shards, (array_agg(to_json(c.topics)))[1] as topics,
       s.name, s.cron, s.tz, s.catch_up, d.declaration
from hearken.cursors c left join hearken.schedules s using (handler) left join hearken.declarations d using (handler)
group by c.handler, s.handler, d.handler
"""
RENAME: tuple[LiteralString, ...] = (
    "update hearken.cursors set handler = %(name)s where handler = %(formerly)s",
    "update hearken.parked set handler = %(name)s where handler = %(formerly)s",
    "update hearken.paused set handler = %(name)s where handler = %(formerly)s",
    "update hearken.brakes set handler = %(name)s where handler = %(formerly)s",
    "update hearken.schedules set handler = %(name)s where handler = %(formerly)s",
    "update hearken.declarations set handler = %(name)s where handler = %(formerly)s",
    "update hearken.former_declarations set handler = %(name)s where handler = %(formerly)s",
)
ADD: LiteralString = (
    """
insert into hearken.cursors (handler, shard, shards, topics, done, done_id, seen_id, seen_tx, cluster)
select %(name)s, shard, %(shards)s, %(topics)s, coalesce(%(done)s::pg_snapshot, pg_current_snapshot()), %(seen_id)s,
       %(seen_id)s, %(seen_tx)s::xid8, """
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
# What a new handler's cursors have passed before they move was for it under no declaration.
KEEP_BEGINNING: LiteralString = """
insert into hearken.former_declarations (handler, shard, shards, done, target, last_id)
select handler, shard, shards, done, target, last_id from hearken.cursors where handler = %(name)s
"""
# In a transaction before that of the new cursor: what is later has greater ids.
SEEN: LiteralString = """
select coalesce(pg_sequence_last_value('hearken.events_id_seq'), 0) as seen_id, pg_current_xact_id()::text as seen_tx
"""
PATIENCE: LiteralString = "set local lock_timeout = '5s'"
UNFINISHED: LiteralString = """
select pg_current_snapshot()::text as now, bool_or(c.target is not null or exists (
           select from unnest(c.topics) t (topic) cross join lateral hearken.unseen_events(t.topic, c.done, 1))
       ) as unfinished
from hearken.cursors c where c.handler = %s
"""
REMOVE: LiteralString = "delete from hearken.cursors where handler = %s"


@dataclass(frozen=True)
class Enrolment:
    """One thing to do about a handler's cursors."""

    handler: Handler
    action: str  # add, rename, reshard, move, schedule, declare
    text: str
    before: Enrolled | None = None


@dataclass(frozen=True)
class Enrolled:
    """A handler that has cursors, as the database knows it."""

    name: str
    shards: int
    topics: list[str]
    schedule: Schedule | None = None
    declaration: Mapping[str, Any] | None = None


async def enrolled(connection: AsyncConnection[Any]) -> dict[str, Enrolled]:
    """The handlers that have cursors, by name."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(CURSORS)
        return {row["handler"]: _enrolled(row) for row in await cursor.fetchall()}


def _enrolled(row: dict[str, Any]) -> Enrolled:
    schedule = None if row["name"] is None else Schedule(row["name"], row["cron"], row["tz"], row["catch_up"])
    return Enrolled(row["handler"], row["shards"], row["topics"], schedule, row["declaration"])


def plan_enrolment(handlers: Iterable[Handler], known: dict[str, Enrolled]) -> list[Enrolment]:
    """What to do so that each handler has its cursors.

    Raises MigrationError when a new handler looks like a renamed one: guessing either way could lose events.
    """
    declared = {handler.name: handler for handler in handlers}
    plan: list[Enrolment] = []
    for handler in declared.values():
        before = known.get(handler.name)
        if before is None and handler.formerly in known:
            former = known[handler.formerly]
            plan.append(Enrolment(handler, "rename", f"takes over the cursor of {former.name}", former))
        elif before is None:
            _refuse_renamed(handler, [e for e in known.values() if e.name not in declared])
            plan.append(Enrolment(handler, "add", f"new, receives {handler.topic} from now on"))
        elif before.shards != handler.shards:
            plan.append(Enrolment(handler, "reshard", f"from {before.shards} to {handler.shards} shards", before))
        elif before.schedule != handler.schedule:
            plan.append(Enrolment(handler, "schedule", _described(handler.schedule), before))
        elif before.topics != [handler.topic]:
            plan.append(Enrolment(handler, "move", f"receives {handler.topic} instead of {before.topics[0]}", before))
        elif before.declaration != declaration_of(handler):
            plan.append(Enrolment(handler, "declare", _declared(handler, before.declaration), before))
    return plan


def _declared(handler: Handler, before: Mapping[str, Any] | None) -> str:
    if before is None:
        return "its declaration is stored with its cursor"
    return f"declared otherwise, undelivered events included: {describe_difference(before, declaration_of(handler))}"


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


async def enrol(connection: AsyncConnection[Any], enrolment: Enrolment) -> bool:
    """Carry one out, or the next step of a long one, in a transaction of its own; returns whether it is done.

    Raises MigrationError.
    """
    handler, before = enrolment.handler, enrolment.before
    try:
        async with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
            (seen,) = await (await cursor.execute(SEEN)).fetchall()
        async with connection.transaction():
            await connection.execute(LOCK, (migration_lock(),))
            await connection.execute(PATIENCE)
            if before is not None and enrolment.action != "declare":
                await _claim_all(connection, before)
            if before is not None and _takes_along(enrolment, before):
                return await _move(connection, handler, before)
            if before is not None and not await move_topic.give_up(connection, before.name):
                return False
            await connection.execute(HOLD_STILL)
            await _carry_out(connection, enrolment, seen)
            if [e.action for e in plan_enrolment([handler], await enrolled(connection))] == ["declare"]:
                await store_declaration(connection, handler)
            return True
    except errors.LockNotAvailable as error:
        raise MigrationError(
            f"handler {handler.name} is running, or its table is being written, for longer than 5 s: stop its workers"
            " or end the transaction, then migrate again"
        ) from error


def _takes_along(enrolment: Enrolment, before: Enrolled) -> bool:
    """Whether it moves from table to table."""
    topics = [enrolment.handler.topic, *before.topics]
    return enrolment.action == "move" and not any(topic.startswith(SOURCES) for topic in topics)


async def _move(connection: AsyncConnection[Any], handler: Handler, before: Enrolled) -> bool:
    """The next step. One to another topic is given up first."""
    if await move_topic.is_under_way(connection, handler):
        return await move_topic.go_on(connection, handler, before.topics)
    if await move_topic.give_up(connection, handler.name):
        await keep_former(connection, handler.name)
        await move_topic.begin(connection, handler, before.topics)
    return False


async def _carry_out(connection: AsyncConnection[Any], enrolment: Enrolment, seen: dict[str, Any]) -> None:
    handler, before = enrolment.handler, enrolment.before
    values = {"name": handler.name, "formerly": handler.formerly, "shards": handler.shards, "topics": [handler.topic]}
    values |= seen
    if before is None:
        await connection.execute(ADD, {**values, "done": None})
        await connection.execute(KEEP_BEGINNING, values)
        await timetable.put(connection, handler)
    elif enrolment.action == "rename":
        for statement in RENAME:
            await connection.execute(statement, values)
        await keep_former(connection, handler.name)
        if handler.schedule is not None and before.schedule is not None:
            await _reschedule(connection, handler, before, values)
    elif enrolment.action == "move":
        now = await move_topic.hold_writers(connection, [*before.topics, handler.topic])
        await keep_former(connection, handler.name)
        await move_topic.start_anew(connection, handler, before.topics, now)
    elif enrolment.action == "reshard":
        await keep_former(connection, handler.name)
        done = await _drained(connection, handler)
        await connection.execute(REMOVE, (handler.name,))
        await connection.execute(ADD, {**values, "done": done, "topics": before.topics})
    else:
        await keep_former(connection, handler.name)
        if enrolment.action == "schedule":
            await _reschedule(connection, handler, before, values)


async def _reschedule(
    connection: AsyncConnection[Any], handler: Handler, before: Enrolled, values: dict[str, Any]
) -> None:
    """Bring its schedule to what is declared; ticks of another name that it has not had come with it."""
    await timetable.put(connection, handler)
    if handler.schedule is not None and before.schedule is not None:
        await timetable.carry_over(connection, handler)
        await connection.execute(TOPICS, values)


async def _claim_all(connection: AsyncConnection[Any], before: Enrolled) -> None:
    """Take every cursor until the transaction ends, before any lock that its batches need to settle."""
    for shard in range(before.shards):
        await connection.execute(LOCK, (claim_lock(before.name, shard),))


async def _drained(connection: AsyncConnection[Any], handler: Handler) -> str:
    """A snapshot up to which every old shard is done: only then are the new ones' cursors known exactly."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        before = (await enrolled(connection))[handler.name].shards
        await cursor.execute(UNFINISHED, (handler.name,))
        row = await cursor.fetchone()
    if row is None or row["unfinished"]:
        raise MigrationError(
            f"handler {handler.name} has undelivered events: let it finish with {before} shards first, then migrate"
        )
    done: str = row["now"]
    return done
