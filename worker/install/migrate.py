"""`hearken migrate`: updates the database to what the code declares: SQL files, then cursors, then triggers.

In that order, because a trigger without a cursor behind it would capture what a new handler never sees. Each part is
safe to run again, and to run from many processes at once. The log's first partitions are made here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString

import structlog
from psycopg import AsyncConnection, errors
from psycopg.rows import scalar_row, tuple_row

from worker.capture.install import TriggerStatus, trigger_status
from worker.declare.registry import Registry
from worker.errors import MigrationError, NotMigrated
from worker.install import migrations
from worker.install.enrolment import Enrolment, enrol, enrolled, plan_enrolment
from worker.log.partitions import Partition, make_partitions
from worker.postgres.locks import migration_lock

logger = structlog.get_logger("migrate")

ENCODING: LiteralString = "select current_setting('server_encoding')"
# With SQL_ASCII anything can be written; the doctor says what cannot be read.
ENCODINGS = ("UTF8", "SQL_ASCII")
LOCK_TIMEOUT: LiteralString = "set local lock_timeout = '5s'"


@dataclass
class Pending:
    """What is still to be done; empty when the database is as declared."""

    migrations: list[migrations.Migration] = field(default_factory=list)
    enrolments: list[Enrolment] = field(default_factory=list)
    triggers: list[TriggerStatus] = field(default_factory=list)
    partitions: list[Partition] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.migrations or self.enrolments or self.triggers or self.partitions)

    def lines(self) -> list[str]:
        """One line each, for a person."""
        return [
            *(f"migration {m}" for m in self.migrations),
            *(f"handler {e.handler.name}: {e.text}" for e in self.enrolments),
            *map(str, self.triggers),
            *(f"partition hearken.{p.name}" for p in self.partitions),
        ]

    def script(self) -> str:
        """The SQL that `migrate` would run. Cursors are made by code: they are comments here."""
        parts = [migrations.script(m) for m in self.migrations]
        if self.migrations:
            parts.append("-- Then cursors, triggers and partitions, which are known once these files are applied.\n")
        parts += [f"-- handler {e.handler.name}: {e.text}\n" for e in self.enrolments]
        parts += ["".join(f"{statement};\n" for statement in t.statements) for t in self.triggers]
        parts += ["".join(f"{statement.as_string()};\n" for statement in p.statements()) for p in self.partitions]
        return "\n".join(parts)


async def find_pending(connection: AsyncConnection[Any], registry: Registry, *, engine: bool = True) -> Pending:
    """What `migrate` would do. With migrations pending, cursors and triggers cannot be judged and are left out.

    engine: for the engine's own handlers too.
    """
    files = await migrations.pending(connection, migrations.find_migrations(registry.areas))
    if files:
        return Pending(migrations=files)
    handlers = list((registry.every_handler if engine else registry.handlers).values())
    known = await enrolled(connection)
    plan = plan_enrolment(handlers, known)
    # What is gone from the code may still run elsewhere, and comes back with what it has missed, until it is forgotten.
    gone = set(known) - {handler.name for handler in handlers} - {handler.formerly for handler in handlers}
    needed = {topic for name in gone for topic in known[name].topics}
    states = await trigger_status(connection, handlers)
    stale = [t for t in states if t.state != "current" and not (t.state == "orphan" and t.topic in needed)]
    return Pending(enrolments=plan, triggers=stale)


async def migrate(connection: AsyncConnection[Any], registry: Registry) -> Pending:
    """Bring the database up to date; returns what was done. Raises MigrationError, WatchError, DeclarationError."""
    await _require_encoding(connection)
    done = Pending(await migrations.apply(connection, migrations.find_migrations(registry.areas)))
    # One after the other: who is renamed may also get other shards.
    while enrolments := (await find_pending(connection, registry)).enrolments:
        done.enrolments += [e for e in enrolments if await _enrol(connection, registry, e)]
    for status in (await find_pending(connection, registry)).triggers:
        if await _install(connection, registry, status):
            done.triggers.append(status)
    done.partitions = await _first_partitions(connection)
    return done


async def _require_encoding(connection: AsyncConnection[Any]) -> None:
    async with connection.cursor(row_factory=scalar_row) as cursor:
        (encoding,) = await (await cursor.execute(ENCODING)).fetchall()
    if encoding not in ENCODINGS:
        raise MigrationError(unfit_encoding(encoding))


def unfit_encoding(name: str) -> str:
    """Why a database of this encoding cannot carry the log, and what to do."""
    return (
        f"the database keeps text as {name}, which lacks characters of what is written here (reasons, results, errors):"
        " make one with encoding 'UTF8' template template0, restore a dump of this one into it, and run"
        " `hearken rebase` there if this one has events"
    )


async def _still_pending(connection: AsyncConnection[Any], registry: Registry) -> Pending:
    """What is pending once nobody else migrates, until this transaction ends: others may have done it meanwhile."""
    await connection.execute(migrations.LOCK, (migration_lock(),))
    return await find_pending(connection, registry)


async def _enrol(connection: AsyncConnection[Any], registry: Registry, enrolment: Enrolment) -> bool:
    async with connection.transaction():
        if enrolment not in (await _still_pending(connection, registry)).enrolments:
            return False
        return await enrol(connection, enrolment)


async def _first_partitions(connection: AsyncConnection[Any]) -> list[Partition]:
    try:
        return await make_partitions(connection)
    except errors.LockNotAvailable:
        logger.warning("the log is locked, its partitions are left to the worker")
        return []


async def require_migrated(connection: AsyncConnection[Any], registry: Registry) -> None:
    """Raises NotMigrated naming what is missing. The engine's own handlers must not keep anyone from working."""
    if pending := await find_pending(connection, registry, engine=False):
        raise NotMigrated(f"run `hearken migrate`; pending: {'; '.join(pending.lines())}")


async def _install(connection: AsyncConnection[Any], registry: Registry, status: TriggerStatus) -> bool:
    """Waits at most five seconds for the table's lock: writers queue behind a waiting DDL statement."""
    try:
        async with connection.transaction():
            if status not in (await _still_pending(connection, registry)).triggers:
                return False
            await connection.execute(LOCK_TIMEOUT)
            for statement in status.statements:
                await connection.execute(statement.encode())
            return True
    except errors.LockNotAvailable as error:
        raise MigrationError(
            f"{status}: could not lock the table within 5 s ({await _holders(connection, status.topic)});"
            " end what holds it, then migrate again"
        ) from error
    except errors.InsufficientPrivilege as error:
        raise MigrationError(f"{status}: {str(error).strip()}; the role that migrates must own the table") from error


HOLDERS: LiteralString = """
select a.pid, a.application_name from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a using (pid)
where l.granted and l.relation = (select c.oid from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace where n.nspname || '.' || c.relname = %s)
  and l.pid <> pg_backend_pid()
order by a.xact_start limit 5
"""


async def _holders(connection: AsyncConnection[Any], topic: str) -> str:
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(HOLDERS, (topic,))
        rows: Sequence[tuple[int, str]] = await cursor.fetchall()
    return "held by " + ", ".join(f"pid {pid} ({name or 'no application name'})" for pid, name in rows)
