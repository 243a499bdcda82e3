"""The bulk sync: every profile that has a customer in the CRM, in batches, for a tick, a request or a command.

    begin (or resume a killed one) → batch → save → pause → … → end → answer

One at a time over all processes. A profile that fails is counted and reported; a CRM that fails for everybody ends
the run with its outcome, and the next run resumes there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import LiteralString

import structlog
from psycopg import OperationalError

from handlers.packages import runs
from handlers.packages.client import Crm
from handlers.packages.result import SyncAnswer, SyncOptions, UnderWay
from handlers.packages.runs import BulkRun
from handlers.packages.sync import sync_packages
from worker import Connection, Database, Outcome, Unavailable, error_line

logger = structlog.get_logger("packages")

PAUSE = 0.5
"""Seconds between two batches: the CRM has other users."""
SIDE_BY_SIDE = 5

_FIRST: LiteralString = """
select profile_id::text as id from public.crm_customer_mapping
where crm_customer_id is not null and (synced_at is null or not %(only_new)s)
order by profile_id limit %(most)s
"""
_NEXT: LiteralString = """
select profile_id::text as id from public.crm_customer_mapping
where crm_customer_id is not null and (synced_at is null or not %(only_new)s) and profile_id > %(position)s
order by profile_id limit %(most)s
"""


@dataclass(frozen=True)
class BulkProgress:
    """How far a run has come: profiles done, and about how many there are."""

    done: int
    profiles: int
    failed: int


@dataclass(frozen=True)
class _Ended:
    """The outcome of one profile; `packages` None when it is gone. `away`: unknown, the database is unreachable."""

    profile: str
    packages: int | None = None
    failure: Outcome | str | None = None
    away: OperationalError | None = None


async def _nobody(_: BulkProgress) -> None:
    """Progress that nobody looks at."""


async def bulk_sync(
    crm: Crm,
    database: Database,
    options: SyncOptions | None = None,
    *,
    progress: Callable[[BulkProgress], Awaitable[None]] = _nobody,
    pause: float = PAUSE,
    side_by_side: int = SIDE_BY_SIDE,
) -> SyncAnswer | UnderWay:
    """Sync all profiles with a mapping, by their ids; UnderWay when somebody does already.

    Raises Unavailable when the CRM is down for everybody, psycopg.OperationalError when the database is. Then, and
    when it is cancelled or killed, the next call with the same options within 12 hours resumes it.
    """
    connection = await database.connect()
    try:
        run = await runs.begin(connection, options or SyncOptions())
        if isinstance(run, UnderWay):
            return run
        await _run(crm, database, connection, run, progress, pause, asyncio.Semaphore(side_by_side))
        return await runs.end(connection, run)
    finally:
        await connection.close()


async def _run(
    crm: Crm,
    database: Database,
    connection: Connection,
    run: BulkRun,
    progress: Callable[[BulkProgress], Awaitable[None]],
    pause: float,
    places: asyncio.Semaphore,
) -> None:
    """Batch after batch, until there is no profile left or there have been enough."""
    loop = asyncio.get_running_loop()
    saved_at = loop.time()
    profiles = await _read_batch(connection, run)
    while profiles:
        ended = await asyncio.gather(*(_sync(crm, database, profile, places) for profile in profiles))
        await _check(crm, ended)
        _count(run, ended)
        run.position, run.seconds, saved_at = profiles[-1], run.seconds + loop.time() - saved_at, loop.time()
        await runs.save(connection, run)
        await progress(BulkProgress(run.done, max(run.profiles, run.done), run.failed))
        if profiles := await _read_batch(connection, run):
            await asyncio.sleep(pause)


async def _read_batch(connection: Connection, run: BulkRun) -> list[str]:
    options, left = run.options, run.options.batch_size
    if options.max_profiles is not None:
        left = min(left, options.max_profiles - run.done)
    values = {"only_new": options.only_new_profiles, "most": left, "position": run.position}
    query = _FIRST if run.position is None else _NEXT
    return [row["id"] for row in await (await connection.execute(query, values)).fetchall()]


async def _sync(crm: Crm, database: Database, profile: str, places: asyncio.Semaphore) -> _Ended:
    """One profile; whatever goes wrong with it is its own, and harms no other."""
    async with places:
        try:
            synced = await sync_packages(crm, database, profile)
        except Outcome as outcome:
            return _Ended(profile, failure=outcome)
        except OperationalError as error:
            # What the server says of one statement (it took too long, a deadlock) is that profile's alone.
            gone = error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
            return _Ended(profile, away=error) if gone else _Ended(profile, failure=error_line(error))
        except Exception as error:
            logger.exception("a profile failed with an unexpected error", profile=profile)
            return _Ended(profile, failure=error_line(error))
    return _Ended(profile, packages=synced.packages if synced else None)


async def _check(crm: Crm, ended: Sequence[_Ended]) -> None:
    """Raises when the run cannot go on: the database is unreachable, or the CRM fails for all customers."""
    for one in ended:
        if one.away is not None:
            raise one.away
    outages = [one.failure for one in ended if isinstance(one.failure, Unavailable)]
    if alarm := next((outage for outage in outages if outage.alarm), None):
        raise alarm
    if outages:
        await crm.ping()


def _count(run: BulkRun, ended: Sequence[_Ended]) -> None:
    for one in ended:
        if one.failure is not None:
            run.fail(one.profile, one.failure.reason if isinstance(one.failure, Outcome) else one.failure)
        elif one.packages is not None:
            run.successful += 1
            run.packages += one.packages
