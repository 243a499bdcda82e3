"""Promise: each due time makes one tick, whatever dies and however many workers there are; none is late for long."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from psycopg.conninfo import make_conninfo

from tests.support.clock import minutes, set_clock, stop_clock, ticks, utc
from tests.support.observed.dying import TICK_POINTS
from tests.support.served import execute
from tests.support.things import observed, watch_things
from tests.support.witness import Witness
from tests.support.workers import start_worker
from worker.declare.registry import registry
from worker.dev.embedded import EmbeddedPostgres
from worker.postgres.database import Database
from worker.settings import Settings
from worker.sources.ticker import Ticker

MODULES = observed("scheduled")
BEGIN = utc("2026-03-01 10:00:30")
FIRST = utc("2026-03-01 10:01")
# Time for workers to start in, before the first tick is due.
DUE_SOON = FIRST - timedelta(seconds=5)


async def watch_from(url: str) -> None:
    """Enrol the schedules, at a time when nothing is due."""
    await stop_clock(url, BEGIN)
    await watch_things(url, MODULES)


async def test_several_workers_append_one_tick(database_url: str) -> None:
    """All of them wake up for it."""
    await watch_from(database_url)
    await set_clock(database_url, DUE_SOON)
    async with Witness() as witness, AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(start_worker(database_url, MODULES, witness)) for _ in range(3)]
        for worker in workers:
            await worker.said("working")
        await witness.until_done(3)
    assert [await ticks(database_url, name) for name in ("see_all", "see_one", "see_punctual")] == [[FIRST]] * 3


async def test_tickers_that_look_at_once_append_each_tick_once(database_url: str) -> None:
    """Forty minutes, at each of which five look at the same moment."""
    await watch_from(database_url)
    handlers = [h for h in registry.handlers.values() if h.function.__module__ in MODULES]
    settings = Settings.model_validate({"DATABASE_URL": database_url})
    tickers = [Ticker(Database(settings), handlers) for _ in range(5)]
    due = minutes(FIRST, 40)
    for time in due:
        await stop_clock(database_url, time)
        await asyncio.gather(*(ticker.turn() for ticker in tickers))
    assert await ticks(database_url, "see_all") == await ticks(database_url, "see_one") == due


@pytest.mark.parametrize("point", TICK_POINTS)
async def test_a_worker_killed_while_it_ticks_loses_none_and_doubles_none(database_url: str, point: str) -> None:
    """What it had not committed is owed to the next; what it had is not appended again."""
    await watch_from(database_url)
    await stop_clock(database_url, FIRST + timedelta(minutes=2))
    async with Witness() as witness:
        async with start_worker(database_url, MODULES, witness, KILL_AT=point) as doomed:
            assert await doomed.ended() == -signal.SIGKILL
        async with start_worker(database_url, MODULES, witness):
            await witness.until_done(5)
    assert await ticks(database_url, "see_all") == minutes(FIRST, 3)
    for name in ("see_one", "see_punctual"):
        assert await ticks(database_url, name) == minutes(FIRST, 3)[-1:]


async def test_after_an_hour_without_a_worker_each_policy_has_its_ticks(database_url: str) -> None:
    """All sixty, the newest, none; and from then on every one again."""
    await watch_from(database_url)
    await stop_clock(database_url, utc("2026-03-01 11:00:40"))
    async with Witness() as witness:
        async with start_worker(database_url, MODULES, witness):
            await witness.until_done(61)
        assert await ticks(database_url, "see_all") == minutes(FIRST, 60)
        assert await ticks(database_url, "see_one") == [utc("2026-03-01 11:00")]
        assert await ticks(database_url, "see_punctual") == []
        await stop_clock(database_url, utc("2026-03-01 11:01"))
        async with start_worker(database_url, MODULES, witness):
            await witness.until_done(64)
    assert await ticks(database_url, "see_punctual") == [utc("2026-03-01 11:01")]


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_a_tick_that_comes_due_while_the_database_is_away_comes_when_it_is_back(
    postgres: EmbeddedPostgres, how: str
) -> None:
    """Within seconds, and by itself."""
    await watch_things(postgres.url, MODULES)
    await set_clock(postgres.url, DUE_SOON)
    await execute(postgres.url, "update hearken.schedules set last_due = hearken.clock()")
    async with Witness() as witness, start_worker(postgres.url, MODULES, witness) as worker:
        await worker.said("working")
        await asyncio.to_thread(postgres.stop if how == "stopped" else postgres.kill)
        await worker.said("schedules cannot be read")
        await asyncio.to_thread(postgres.start)
        await witness.until_done(3)
    assert await ticks(postgres.url, "see_all") == [FIRST]


async def test_a_role_is_told_what_it_needs_to_tick(postgres: EmbeddedPostgres) -> None:
    """The statements of the message are all that is wanting."""
    await watch_things(postgres.url, MODULES)
    await stop_clock(postgres.url, FIRST)
    await execute(postgres.url, "update hearken.schedules set last_due = %s", BEGIN)
    await execute(postgres.url, "create role ticker login password 'open'")
    url = make_conninfo(postgres.url, user="ticker", password="open")
    async with Witness() as witness, start_worker(url, MODULES, witness) as worker:
        reason = (await worker.said("not ready"))["reason"]
        assert 'grant usage on sequence hearken.events_id_seq to "ticker"' in reason
        assert "grant select, update on hearken.schedules" in reason
        await execute(postgres.url, reason.partition("run: ")[2])
        await witness.until_done(3)
    assert await ticks(postgres.url, "see_all") == [FIRST]
