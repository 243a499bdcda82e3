"""How far each bulk sync has come: rows of `hearken.package_syncs`, between `bulk` and the database.

Whoever runs one holds an advisory lock on the connection that it writes its progress on: when the process or the
connection ends, so does the lock, and the next one resumes behind the last batch that was saved.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import LiteralString

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from handlers.packages.mapping import Connections
from handlers.packages.result import SyncAnswer, SyncOptions, SyncResult, UnderWay
from worker import Connection

_ERRORS_KEPT = 100

_LOCK: LiteralString = "select pg_try_advisory_lock(hashtextextended('hearken package sync', 0)) as ours"
_COLUMNS: LiteralString = """
id, options, position::text as position, profiles, successful, failed, packages, errors, seconds
"""
# One that was killed half a day ago is not resumed: its first profiles have waited for long enough.
_RESUME: LiteralString = (
    """
select """
    + _COLUMNS
    + """
from hearken.package_syncs
where ended_at is null and options = %s and started_at > now() - interval '12 hours'
order by id desc limit 1
"""
)
_ABANDON: LiteralString = "update hearken.package_syncs set ended_at = now() where ended_at is null and id <> %s"
_FORGET: LiteralString = "delete from hearken.package_syncs where ended_at < now() - interval '90 days'"
_BEGIN: LiteralString = (
    """
insert into hearken.package_syncs (options, profiles)
select %(options)s, least(count(*), %(max_profiles)s) from public.crm_customer_mapping
where crm_customer_id is not null and (synced_at is null or not %(only_new_profiles)s)
returning """
    + _COLUMNS
)
_SAVE: LiteralString = """
update hearken.package_syncs
set position = %(position)s, successful = %(successful)s, failed = %(failed)s, packages = %(packages)s,
    errors = %(errors)s, seconds = %(seconds)s
where id = %(id)s
"""
_END: LiteralString = "update hearken.package_syncs set ended_at = now(), completed = true where id = %s returning *"
_CURRENT: LiteralString = """
select started_at, successful + failed as done, profiles
from hearken.package_syncs where ended_at is null order by id desc limit 1
"""
_LAST: LiteralString = "select * from hearken.package_syncs where completed order by id desc limit 1"


@dataclass
class BulkRun:
    """One bulk sync; `position` is the last profile that is done, None before the first."""

    id: int
    options: SyncOptions
    profiles: int
    position: str | None = None
    successful: int = 0
    failed: int = 0
    packages: int = 0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        return self.successful + self.failed

    def fail(self, profile: str, reason: str) -> None:
        """Count a failed profile, and keep why."""
        self.failed += 1
        self.errors = [*self.errors[:_ERRORS_KEPT], f"Profile {profile}: {reason}"]
        if len(self.errors) > _ERRORS_KEPT:
            self.errors[_ERRORS_KEPT] = f"and {self.failed - _ERRORS_KEPT} more"


async def begin(connection: Connection, options: SyncOptions) -> BulkRun | UnderWay:
    """The run that this connection now holds: the one that was killed, if it had the same options, or a new one.

    UnderWay when another connection holds one.
    """
    if not (await _row(connection, _LOCK))["ours"]:
        current = await (await connection.execute(_CURRENT)).fetchone()
        return UnderWay(**current) if current else UnderWay(datetime.now(UTC), 0, 0)
    given = Jsonb(options.model_dump())
    row = await (await connection.execute(_RESUME, (given,))).fetchone()
    if row is None:
        row = await _row(connection, _BEGIN, {**options.model_dump(), "options": given})
    await connection.execute(_ABANDON, (row["id"],))
    await connection.execute(_FORGET)
    return BulkRun(**{**row, "options": options})


async def save(connection: Connection, run: BulkRun) -> None:
    """Keep how far it has come. Raises psycopg.OperationalError when the connection, and so the lock, is lost."""
    values = {
        name: getattr(run, name) for name in ("position", "successful", "failed", "packages", "errors", "seconds")
    }
    await connection.execute(_SAVE, {**values, "id": run.id})


async def end(connection: Connection, run: BulkRun) -> SyncAnswer:
    """Keep that it is over; returns what it answers."""
    return _answer(await _row(connection, _END, (run.id,)))


async def last_answer(database: Connections) -> SyncAnswer | None:
    """What the last bulk sync that came to its end has answered; None before the first."""
    async with database.connection() as connection:
        row = await (await connection.execute(_LAST)).fetchone()
    return None if row is None else _answer(row)


async def _row(
    connection: Connection, query: LiteralString, values: dict[str, object] | tuple[object, ...] = ()
) -> DictRow:
    row = await (await connection.execute(query, values)).fetchone()
    assert row is not None  # noqa: S101  # each of these queries gives one row
    return row


def _answer(row: DictRow) -> SyncAnswer:
    result = SyncResult(
        total_profiles=row["successful"] + row["failed"],
        successful_profiles=row["successful"],
        failed_profiles=row["failed"],
        total_packages=row["packages"],
        errors=row["errors"],
        duration=f"{row['seconds']:.0f}s",
    )
    ended_at = row["ended_at"].astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return SyncAnswer(success=True, result=result, timestamp=ended_at)
