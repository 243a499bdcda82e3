"""Promise: a tick is delivered when it is due, by a worker that nothing but the time wakes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from tests.support.clock import set_clock, utc
from tests.support.served import execute, prepare, served
from worker import Change, Context
from worker.declare.registry import Registry

MINUTELY = "* * * * *"


async def test_a_running_worker_ticks_on_time(database_url: str) -> None:
    """Woken by nothing but the time: the tick is delivered within moments of when it is due."""
    registry = Registry()
    called: list[tuple[datetime | None, datetime]] = []

    @registry.every(MINUTELY, transactional=True)
    async def note(changes: Sequence[Change], ctx: Context) -> None:
        (row,) = await (await ctx.transaction.execute("select hearken.clock() as now")).fetchall()
        called.extend((change.due, row["now"]) for change in changes)

    await set_clock(database_url, utc("2026-03-01 10:00:57.5"))
    async with served(database_url, registry) as worker:
        (consumer,) = worker.app.consumers
        async with asyncio.timeout(20):
            while not called:
                await consumer.progress.next.wait()
    ((due, now),) = called
    assert due == utc("2026-03-01 10:01")
    assert timedelta(0) <= now - due < timedelta(seconds=5)  # a machine that is busy is late


async def test_handlers_that_hold_every_connection_hold_up_no_tick(database_url: str) -> None:
    """The tick is appended over a connection of its own."""
    registry, ticked, held = Registry(), asyncio.Event(), asyncio.Event()

    @registry.on("public.things")
    async def hold(change: Change, ctx: Context) -> None:
        async with ctx.connection():
            held.set()
            await ticked.wait()

    @registry.every(MINUTELY, transactional=True)
    async def note(changes: Sequence[Change], ctx: Context) -> None:
        ticked.set()

    await set_clock(database_url, utc("2026-03-01 10:00:56"))
    await prepare(database_url, registry)
    await execute(database_url, "insert into things values (1)")
    async with served(database_url, registry, prepared=False, connections=1):
        async with asyncio.timeout(20):
            await held.wait()
            assert not ticked.is_set()
            await ticked.wait()
