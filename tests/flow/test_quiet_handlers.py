"""Promise 5 among several handlers: a busy table wakes its own handlers, and no other."""

from __future__ import annotations

import asyncio
import re

import psycopg

from tests.support.served import Served, execute, served
from worker import Change, Context
from worker.declare.registry import Registry

ROWS = 30
OTHERS = "create table if not exists others (id integer primary key)"
COUNTER = re.compile(r'^hearken_(sleeps|wakeups)_total\{handler="quiet"\} (\S+)$', re.MULTILINE)


async def counted(worker: Served) -> dict[str, float]:
    """How often the quiet handler has slept and was woken."""
    return {name: float(value) for name, value in COUNTER.findall((await worker.get("/metrics")).text)}


async def test_a_busy_table_wakes_no_handler_of_another(empty_database_url: str) -> None:
    """Also with transactions open when the busy one goes to sleep, whose end it has to look for."""
    registry, seen, news = Registry(), set[str](), asyncio.Condition()

    @registry.on("public.things")
    async def busy(change: Change, ctx: Context) -> None:
        """Note it."""
        async with news:
            seen.add(str(change.key))
            news.notify_all()

    @registry.on("public.others")
    async def quiet(change: Change, ctx: Context) -> None:
        """Nothing."""

    async def until_seen(*keys: int) -> None:
        async with asyncio.timeout(20), news:
            await news.wait_for(lambda: {str(key) for key in keys} <= seen)

    await execute(empty_database_url, OTHERS)
    async with (
        served(empty_database_url, registry) as worker,
        await psycopg.AsyncConnection.connect(empty_database_url) as slow,
    ):
        await worker.until("/metrics", lambda reply: dict(COUNTER.findall(reply.text)).get("sleeps", "0.0") != "0.0")
        await execute(empty_database_url, "insert into things values (0)")
        await until_seen(0)
        before = await counted(worker)
        for key in range(1, ROWS, 2):
            await slow.execute("insert into things values (%s)", (key,))
            await execute(empty_database_url, "insert into things values (%s)", key + 1)
            await until_seen(key + 1)
            await slow.commit()
            await until_seen(key)
        assert await counted(worker) == before
