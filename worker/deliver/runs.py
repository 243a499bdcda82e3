"""Outcomes of ticks and requests, kept in hearken.runs: beside `batch`, which settles a batch in its transaction.

A run begins on a connection of its own, since its batch commits only when it is over, and somebody may be watching.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row

from worker.change import Change
from worker.postgres.database import Database
from worker.postgres.storable import storable_json

BEGIN: LiteralString = """
insert into hearken.runs (event_id, topic, source, state, attempt, started_at)
values (%(event_id)s, %(topic)s, %(source)s, 'running', %(attempt)s, now())
on conflict (event_id) do update
set state = 'running', attempt = excluded.attempt, started_at = coalesce(runs.started_at, excluded.started_at),
    ended_at = null, progress = null, error = null
"""
PROGRESS: LiteralString = "update hearken.runs set progress = %s where event_id = %s"
SETTLE: LiteralString = """
insert into hearken.runs (event_id, topic, source, state, attempt, started_at, ended_at, result, error)
select r.event_id, r.topic, r.source, r.state, r.attempt, r.started_at,
       case when r.state in ('succeeded', 'skipped', 'dead') then clock_timestamp() end, r.result::json, r.error
from unnest(%(event_id)s::bigint[], %(topic)s::text[], %(source)s::text[], %(state)s::text[], %(attempt)s::int[],
            %(started_at)s::timestamptz[], %(result)s::text[], %(error)s::text[])
     as r (event_id, topic, source, state, attempt, started_at, result, error)
on conflict (event_id) do update
set state = excluded.state, attempt = excluded.attempt, started_at = coalesce(runs.started_at, excluded.started_at),
    ended_at = excluded.ended_at, result = excluded.result, error = excluded.error
"""
# Of a schedule whose ticks fold only the newest counts: older ones, parked or not, are done with.
SUPERSEDE: LiteralString = """
update hearken.runs set state = 'superseded', ended_at = clock_timestamp()
where topic = %s and event_id < %s and ended_at is null
"""
# What is decided outside of a delivery: `waiting` for another try, `skipped`, or `dead`.
DECIDE: LiteralString = """
update hearken.runs
set state = %(state)s, error = coalesce(%(reason)s, error),
    ended_at = case when %(state)s in ('skipped', 'dead') then clock_timestamp() end
where event_id = any(%(event_ids)s)
"""
# A batch at a time, so that no transaction is long.
SWEEP: LiteralString = """
delete from hearken.runs where event_id = any(array(
    select event_id from hearken.runs where ended_at < now() - make_interval(days => %s) limit 5000))
"""
RUN: LiteralString = "select * from hearken.runs where event_id = %(event_id)s"
RUNS: LiteralString = """
select * from hearken.runs where %(topic)s::text is null or topic = %(topic)s order by event_id desc limit %(limit)s
"""


@dataclass(frozen=True)
class Run:
    """One row of hearken.runs. Times are UTC; `ended_at` is None while it has not ended."""

    event_id: int
    topic: str
    source: str
    state: str
    idempotency_key: str | None
    body_hash: str | None
    attempt: int
    asked_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    progress: dict[str, Any] | None
    result: Any
    error: str | None


@dataclass(frozen=True)
class RunEnd:
    """The outcome of one delivery of a run. started_at is in seconds of the Unix epoch, 0 when it did not start."""

    change: Change
    state: str
    started_at: float
    result: str | None
    reason: str | None


async def begin_run(database: Database, change: Change) -> None:
    """Record that the run of this event has started."""
    row = {"event_id": change.id, "topic": change.topic, "source": _source(change), "attempt": change.attempt}
    async with database.engine.connection() as connection:
        await connection.execute(BEGIN, row)


async def tell_progress(database: Database, event_id: int, progress: dict[str, Any]) -> None:
    """Store the progress that the handler reports."""
    async with database.engine.connection() as connection:
        await connection.execute(PROGRESS, (storable_json(progress), event_id))


async def settle_runs(connection: AsyncConnection[Any], ends: Sequence[RunEnd], *, fold: bool) -> None:
    """Record the outcomes of a batch's runs, in its transaction."""
    if not ends:
        return
    await connection.execute(
        SETTLE,
        {
            "event_id": [end.change.id for end in ends],
            "topic": [end.change.topic for end in ends],
            "source": [_source(end.change) for end in ends],
            "state": [end.state for end in ends],
            "attempt": [end.change.attempt for end in ends],
            "started_at": [_time(end.started_at) for end in ends],
            "result": [end.result for end in ends],
            "error": [end.reason for end in ends],
        },
    )
    if fold:
        newest = max((end.change for end in ends), key=lambda change: change.id)
        await connection.execute(SUPERSEDE, (newest.topic, newest.id))


async def decide(
    connection: AsyncConnection[Any],
    event_ids: Sequence[int],
    state: Literal["waiting", "skipped", "dead"],
    reason: str | None = None,
) -> None:
    """Record what is decided about events that are runs: they wait for another try, are skipped, or dead."""
    await connection.execute(DECIDE, {"event_ids": list(event_ids), "state": state, "reason": reason})


def _time(epoch: float) -> datetime | None:
    return datetime.fromtimestamp(epoch, UTC) if epoch else None


def _source(change: Change) -> str:
    """Of an event without a row; a request has got one when it was asked."""
    return "tick" if change.op == "tick" and change.replay_of is None else "replay"


async def find_run(connection: AsyncConnection[Any], event_id: int) -> Run | None:
    """The run of this event, if it is one."""
    async with connection.cursor(row_factory=class_row(Run)) as cursor:
        await cursor.execute(RUN, {"event_id": event_id})
        return await cursor.fetchone()


async def find_runs(connection: AsyncConnection[Any], *, topic: str | None, limit: int) -> list[Run]:
    """The newest runs, of one topic or of all, newest first."""
    async with connection.cursor(row_factory=class_row(Run)) as cursor:
        await cursor.execute(RUNS, {"topic": topic, "limit": limit})
        return await cursor.fetchall()


async def sweep(connection: AsyncConnection[Any], days: int) -> int:
    """Delete the runs that ended more than `days` days ago; returns how many."""
    deleted = 0
    while count := (await connection.execute(SWEEP, (days,))).rowcount:
        deleted += count
    return deleted
