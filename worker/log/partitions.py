"""The log's partitions: made ahead, and dropped when old and passed by every cursor. `retention` says when.

The worker's role must own hearken.events, or be a member of the role that does: only an owner may do this.

    grant <owner of hearken.events> to <role of DATABASE_URL>;

Nothing waits longer than a second for a lock, since others queue behind whoever waits: without the lock it tries
again in a minute. Any number of workers may run this; each step is taken by one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, LiteralString

import structlog
from psycopg import AsyncConnection, errors, sql
from psycopg.rows import scalar_row

from worker.errors import DatabaseError
from worker.log.lookups import index_statement, unindexed_day
from worker.postgres.database import CLUSTER
from worker.postgres.locks import retention_lock

logger = structlog.get_logger("retention")

# Days after today that have their partition already.
AHEAD = 3

TRY_LOCK: LiteralString = "select pg_try_advisory_xact_lock(%s)"
TODAY: LiteralString = "select (now() at time zone 'UTC')::date"
PARTITIONS: LiteralString = """
select c.relname::text from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
where i.inhparent = 'hearken.events'::regclass and c.relname ~ '^events_[0-9]{8}$' order by c.relname
"""
# Attached, because PARTITION OF would lock the whole log against its writers; this locks the default partition only,
# which is empty. Dropping has no such way: with a default partition, DETACH CONCURRENTLY is refused.
# https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-ATTACH-PARTITION
LOCK_TIMEOUT: LiteralString = "set local lock_timeout = '1s'"
CREATE = sql.SQL("create table {} (like hearken.events including defaults including constraints including indexes) {}")
# Vacuumed for every twentieth that is appended, not every fifth: that is what summarizes the index on the key.
OFTEN = sql.SQL("with (autovacuum_vacuum_insert_scale_factor = 0.05)")
# What has no key must have this for a publication FOR ALL TABLES.
IDENTIFY = sql.SQL("alter table {} replica identity full")
ATTACH = sql.SQL("alter table hearken.events attach partition {} for values from ({}) to ({})")
# With this lock, everybody who was writing to the partition has ended: what it holds now is all there will be.
CLOSE = sql.SQL("lock table {} in share mode")
# Every writer waits while the log itself is locked, so wait even less for that.
DROP_LOCK_TIMEOUT: LiteralString = "set local lock_timeout = '250ms'"
DROP = sql.SQL("drop table {}")

STRANGERS: LiteralString = "select handler from hearken.cursors where cluster <> " + CLUSTER + " limit 1"
# Read as a window is (see `reader`): two index ranges. The order by keeps the planner from a sequential scan, which
# looks cheap to it, since it expects a row to be there. What the engine's own handlers have yet to see keeps nothing:
# the canary may have been turned off before its last event was delivered. A handler that moves is to see what was taken
# along so far.
UNPASSED = sql.SQL("""
select c.handler from hearken.cursors c left join hearken.moves m using (handler)
cross join unnest(c.topics || m.topic) t (topic) cross join lateral (
    (select from {partition} e where e.topic = t.topic and e.tx >= pg_snapshot_xmax(c.done) order by e.tx limit 1)
    union all
    (select from {partition} e
     where e.topic = t.topic and e.tx = any(array(select pg_snapshot_xip(c.done))) limit 1)) unseen
where c.handler not like 'hearken.%'
union
select p.handler from hearken.parked p
where exists (select from {partition} e where e.topic = p.topic and e.id = p.event_id)
order by handler
""")
# What came while its day had no partition. A batch at a time, so that no transaction is long.
SWEEP: LiteralString = """
delete from hearken.events_default where ctid = any(array(
    select e.ctid from hearken.events_default e
    where e.at < now() - make_interval(days => %s)
      and not exists (select from hearken.cursors c left join hearken.moves m using (handler)
                      where c.handler not like 'hearken.%%'
                        and e.topic = any(c.topics || m.topic) and not pg_visible_in_snapshot(e.tx, c.done))
      and not exists (select from hearken.parked p where p.topic = e.topic and p.event_id = e.id)
    limit 5000))
"""


@dataclass(frozen=True)
class Partition:
    """The partition of one day (UTC)."""

    day: date

    @property
    def name(self) -> str:
        return f"events_{self.day:%Y%m%d}"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier("hearken", self.name)

    def statements(self) -> tuple[sql.Composed, ...]:
        """What makes it."""
        first, end = (datetime.combine(day, time(), UTC) for day in (self.day, self.day + timedelta(days=1)))
        attach = ATTACH.format(self.identifier, first.isoformat(), end.isoformat())
        return (
            CREATE.format(self.identifier, OFTEN),
            IDENTIFY.format(self.identifier),
            index_statement(self.name),
            attach,
        )


async def missing_partitions(connection: AsyncConnection[Any]) -> list[Partition]:
    """Those of today and the days ahead that are not there."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        (today,) = await (await cursor.execute(TODAY)).fetchall()
    wanted = [Partition(today + timedelta(days=n)) for n in range(AHEAD + 1)]
    there = await partitions(connection)
    return [partition for partition in wanted if partition not in there]


async def make_partitions(connection: AsyncConnection[Any]) -> list[Partition]:
    """Make those that are missing; returns those made by this call. A day that has events already is left as it is.

    Raises psycopg.errors.LockNotAvailable, InsufficientPrivilege.
    """
    return [partition for partition in await missing_partitions(connection) if await _make(connection, partition)]


async def drop_partitions(connection: AsyncConnection[Any], days: int) -> list[Partition]:
    """Drop those whose last event is older than `days` days, if every cursor has passed them and nothing parked is in
    them; returns those dropped by this call.

    Raises DatabaseError, psycopg.errors.LockNotAvailable, InsufficientPrivilege.
    """
    async with connection.cursor(row_factory=scalar_row) as cursor:
        (today,) = await (await cursor.execute(TODAY)).fetchall()
        if strangers := await (await cursor.execute(STRANGERS)).fetchall():
            raise DatabaseError(f"the cursor of {strangers[0]} is from another database: run `hearken rebase`")
    old = [p for p in await partitions(connection) if p.day < today - timedelta(days=days)]
    return [partition for partition in old if await _drop(connection, partition)]


async def index_closed(connection: AsyncConnection[Any]) -> list[str]:
    """Give the days that are over the index on their keys, where they have none, one after the other; returns which.

    Raises psycopg.errors.LockNotAvailable.
    """
    indexed: list[str] = []
    while True:
        async with connection.transaction():
            day = await unindexed_day(connection) if await _is_ours(connection) else None
            if day is None:
                return indexed
            await connection.execute(LOCK_TIMEOUT)
            await connection.execute(index_statement(day))
        indexed.append(day)


async def sweep_default(connection: AsyncConnection[Any], days: int) -> int:
    """Delete events as old and as passed from the default partition; returns how many."""
    deleted = 0
    while count := (await connection.execute(SWEEP, (days,))).rowcount:
        deleted += count
    return deleted


async def partitions(connection: AsyncConnection[Any]) -> list[Partition]:
    """Those of single days that are there, the oldest first."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        names = await (await cursor.execute(PARTITIONS)).fetchall()
    return [Partition(datetime.strptime(name, "events_%Y%m%d").replace(tzinfo=UTC).date()) for name in names]


async def _make(connection: AsyncConnection[Any], partition: Partition) -> bool:
    try:
        async with connection.transaction():
            if not await _is_ours(connection) or partition in await partitions(connection):
                return False
            await connection.execute(LOCK_TIMEOUT)
            for statement in partition.statements():
                await connection.execute(statement)
    except errors.CheckViolation:
        logger.warning("day stays in the default partition, which already has its events", partition=partition.name)
        return False
    return True


async def _drop(connection: AsyncConnection[Any], partition: Partition) -> bool:
    async with connection.transaction():
        if not await _is_ours(connection) or partition not in await partitions(connection):
            return False
        if await _is_needed(connection, partition):
            return False
        await connection.execute(LOCK_TIMEOUT)
        await connection.execute(CLOSE.format(partition.identifier))
        if await _is_needed(connection, partition):
            return False
        await connection.execute(DROP_LOCK_TIMEOUT)
        await connection.execute(DROP.format(partition.identifier))
    return True


async def _is_needed(connection: AsyncConnection[Any], partition: Partition) -> bool:
    """Whether somebody is not done with it, as far as is committed."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(UNPASSED.format(partition=partition.identifier))
        waiting = await cursor.fetchall()
    if waiting:
        logger.warning("old partition is kept, a handler still needs it", partition=partition.name, handler=waiting[0])
    return bool(waiting)


async def _is_ours(connection: AsyncConnection[Any]) -> bool:
    """Whether this transaction, of all workers', may take the step."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        (ours,) = await (await cursor.execute(TRY_LOCK, (retention_lock(),))).fetchall()
    return bool(ours)
