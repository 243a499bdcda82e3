"""The schedules in the database, and the one transaction in which due times become ticks of the log.

Enrolled by `hearken migrate`; what stands there is what every worker goes by. `ticker` says when to look.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, LiteralString

import structlog
from psycopg import AsyncConnection, errors
from psycopg.rows import DictRow, dict_row

from worker.declare.cron import Schedule
from worker.declare.handler import Handler
from worker.declare.schedule import tick_topic
from worker.doorbell.ring import ring
from worker.errors import MigrationError
from worker.log.appending import begin_appending

logger = structlog.get_logger("schedules")

READ: LiteralString = """
select handler, name, cron, tz, catch_up, last_due, hearken.clock() as now from hearken.schedules
where handler = any(%s) order by handler
"""
# A row that is locked is skipped: another worker appends its ticks.
TAKE: LiteralString = """
select handler, name, cron, tz, catch_up, last_due, hearken.clock() as now from hearken.schedules
where handler = %s for update skip locked
"""
WAIT: LiteralString = "select from hearken.schedules where handler = %s for update"
APPEND: LiteralString = """
insert into hearken.events (topic, op, key, new)
select %(topic)s, 'tick', %(name)s, t.new from unnest(%(ticks)s::json[]) with ordinality t (new, place) order by place
"""
DEALT_WITH: LiteralString = "update hearken.schedules set last_due = %s where handler = %s"
# Another cron expression or zone starts from now: what it would have made due before was never promised.
PUT: LiteralString = """
insert into hearken.schedules as s (handler, name, cron, tz, catch_up, last_due)
values (%(handler)s, %(name)s, %(cron)s, %(tz)s, %(catch_up)s, hearken.clock())
on conflict (handler) do update
set name = excluded.name, cron = excluded.cron, tz = excluded.tz, catch_up = excluded.catch_up,
    last_due = case when (s.cron, s.tz) = (excluded.cron, excluded.tz) then s.last_due
                    else greatest(s.last_due, excluded.last_due) end
"""
REMOVE: LiteralString = "delete from hearken.schedules where handler = %s"
# Ticks of a former name that the cursor has not passed, under the new one: it no longer subscribes to that topic.
CARRY_OVER: LiteralString = """
insert into hearken.events (topic, op, key, new, note, replay_of, target)
select %(topic)s, e.op, %(name)s, e.new, e.note, e.id, e.target
from (select * from hearken.cursors where handler = %(handler)s order by seq desc limit 1) c
cross join unnest(c.topics) t (topic) join hearken.events e on e.topic = t.topic
where e.op = 'tick' and e.topic <> %(topic)s and not hearken.passed(e.tx, e.id, c.done, c.target, c.last_id)
order by e.id
"""


@dataclass(frozen=True)
class ScheduleEntry:
    """A schedule as the database knows it: whose it is, up to when nothing is owed, and what its clock says."""

    handler: str
    schedule: Schedule
    last_due: datetime
    now: datetime

    @property
    def next_due(self) -> datetime:
        """When the next tick is due, or has been. Raises DeclarationError."""
        return self.schedule.next(self.last_due)

    @property
    def wait(self) -> float:
        """Seconds until its next tick is due; not above 0 when one is. Raises DeclarationError."""
        return (self.next_due - self.now).total_seconds()


def _entry(row: DictRow) -> ScheduleEntry:
    schedule = Schedule(row["name"], row["cron"], row["tz"], row["catch_up"])
    return ScheduleEntry(row["handler"], schedule, row["last_due"], row["now"])


async def read_timetable(connection: AsyncConnection[Any], handlers: Iterable[str]) -> list[ScheduleEntry]:
    """The schedules of these handlers. Takes no lock."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(READ, (list(handlers),))
        return [_entry(row) for row in await cursor.fetchall()]


async def append_owed(connection: AsyncConnection[Any], handler: str) -> bool | None:
    """Append what the handler's schedule owes, as its catch_up says, in one transaction.

    Returns whether anything was due; None when another worker does it. At most `cron.MOST` at once: ask again.
    """
    async with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        row = await (await cursor.execute(TAKE, (handler,))).fetchone()
        if row is None:
            return None
        entry = _entry(row)
        owed = entry.schedule.owed(entry.last_due, entry.now)
        if owed is None:
            return False
        await append_ticks(connection, entry.schedule.name, owed.due)
        await cursor.execute(DEALT_WITH, (owed.until, handler))
    late = round((entry.now - owed.until).total_seconds(), 3)
    logger.debug("ticks appended", schedule=entry.schedule.name, ticks=len(owed.due), late=late)
    return True


async def append_ticks(connection: AsyncConnection[Any], name: str, due: Iterable[datetime]) -> None:
    """Append a tick of the schedule of that name for each time, and ring the doorbell. In the caller's transaction."""
    ticks = [json.dumps({"due": time.isoformat()}) for time in due]
    if ticks:
        await begin_appending(connection)
        await connection.execute(APPEND, {"topic": tick_topic(name), "name": name, "ticks": ticks})
        await ring(connection, [tick_topic(name)])


async def put(connection: AsyncConnection[Any], handler: Handler) -> None:
    """Bring the handler's row to what it declares; what the row owed until now is appended first.

    In the caller's transaction. Raises MigrationError.
    """
    await connection.execute(WAIT, (handler.name,))
    while await append_owed(connection, handler.name):
        pass
    if handler.schedule is None:
        await connection.execute(REMOVE, (handler.name,))
        return
    try:
        async with connection.transaction():
            await connection.execute(PUT, {"handler": handler.name, **asdict(handler.schedule)})
    except errors.UniqueViolation:
        raise MigrationError(
            f"handler {handler.name}: the schedule {handler.schedule.name} still belongs to another handler:"
            " rename or forget that one, and migrate first"
        ) from None


async def carry_over(connection: AsyncConnection[Any], handler: Handler) -> None:
    """When its schedule was renamed, append under the new name the ticks that the handler has yet to get of the old."""
    if handler.schedule is not None:
        name = handler.schedule.name
        await begin_appending(connection)
        await connection.execute(CARRY_OVER, {"topic": tick_topic(name), "name": name, "handler": handler.name})
