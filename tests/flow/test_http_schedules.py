"""Promise: the probes say whether ticks come, for how long one is owed, and when the next is due."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.support.clock import stop_clock, utc
from tests.support.served import execute, prepare, served
from tests.support.things import connect
from worker import Change, Context
from worker.declare.registry import Registry

BEGIN = utc("2026-03-01 10:00:30")


def scheduled() -> Registry:
    registry = Registry()

    @registry.on("public.things")
    async def note(change: Change, ctx: Context) -> None:
        """Nothing."""

    @registry.every("*/5 * * * *", name="five")
    async def sweep(change: Change, ctx: Context) -> None:
        """Nothing."""

    return registry


@pytest.fixture
async def url(database_url: str) -> str:
    """A database in which the schedule is enrolled, at BEGIN."""
    await stop_clock(database_url, BEGIN)
    await prepare(database_url, scheduled())
    return database_url


async def test_the_next_tick_is_told(url: str) -> None:
    """By /readyz, /health and /metrics; a handler without a schedule has none."""
    async with served(url, scheduled(), prepared=False) as worker:
        reply = await worker.until_ready()
        assert reply.line("schedules") == "ok  schedules: on time, next sweep at 2026-03-01 10:05 UTC"
        handlers = (await worker.get("/health")).json["handlers"]
        assert handlers["sweep"]["schedule"] == {"next_due": "2026-03-01T10:05:00+00:00", "late_seconds": 0.0}
        assert handlers["note"]["schedule"] is None
        metrics = (await worker.get("/metrics")).text
        assert 'hearken_schedule_late_seconds{handler="sweep"} 0.0' in metrics
        assert 'hearken_schedule_late_seconds{handler="note"}' not in metrics


@asynccontextmanager
async def another_ticks(url: str) -> AsyncIterator[None]:
    """The schedule's row is in the hands of another worker, and it is 100 seconds after its tick was due."""
    await stop_clock(url, utc("2026-03-01 10:06:40"))
    async with await connect(url) as other, other.transaction():
        await other.execute("select from hearken.schedules for update")
        yield


async def test_a_tick_that_does_not_come_is_red(url: str) -> None:
    """Not at once: a worker may be about to append it. When it has come, all is well again."""
    async with AsyncExitStack() as stack:
        async with another_ticks(url):
            worker = await stack.enter_async_context(served(url, scheduled(), prepared=False, stalled_after=99.9))
            line = await worker.until_red("schedules", "no tick was appended")
            assert "sweep was due 2026-03-01 10:05 UTC; see the workers' log for why" in line
            metrics = (await worker.get("/metrics")).text
            assert 'hearken_schedule_late_seconds{handler="sweep"} 100.0' in metrics
        reply = await worker.until_ready()
        assert "on time, next sweep at 2026-03-01 10:10 UTC" in reply.line("schedules")


async def test_a_tick_that_is_a_little_late_is_green(url: str) -> None:
    """For as long as a handler may be behind."""
    async with another_ticks(url), served(url, scheduled(), prepared=False, stalled_after=100.1) as worker:
        reply = await worker.until_ready()
        assert reply.line("schedules") == "ok  schedules: 1 owed, next sweep at 2026-03-01 10:05 UTC"


async def test_a_schedule_that_is_not_in_the_database_is_red(url: str) -> None:
    """Removed by hand, or restored without: it would never tick."""
    async with served(url, scheduled(), prepared=False) as worker:
        await worker.until_ready()
        await execute(url, "delete from hearken.schedules")
        assert "not known when sweep is due: run `hearken migrate`" in await worker.until_red("schedules")
        assert "handler sweep: ticks as five at '*/5 * * * *' UTC" in (await worker.until_red("migrations"))


async def test_without_schedules_there_is_no_such_check(database_url: str) -> None:
    """Nothing to say of what is not there."""
    registry = scheduled()
    del registry.handlers["sweep"]
    async with served(database_url, registry) as worker:
        assert "schedules" not in (await worker.until_ready()).text
