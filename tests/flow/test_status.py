"""Promise: the status tells what is left to deliver, and who is at it, from the database alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import psycopg
import pytest

from worker.change import Change
from worker.declare.registry import Registry
from worker.deliver.context import Context
from worker.deliver.progress import Turn
from worker.observe.status import HandlerStatus, read_status
from worker.testing import Bench, bench

declared = Registry()
called = asyncio.Event()
go_on = asyncio.Event()


@declared.on("public.rooms", transactional=True, batch=2)
async def pairs(changes: Sequence[Change], ctx: Context) -> None:
    """Takes two at a time, and waits for the test."""
    called.set()
    await go_on.wait()


@declared.on("public.rooms", transactional=True, shards=2)
async def halves(changes: Sequence[Change], ctx: Context) -> None:
    """Has a cursor for each half of the keys."""


@pytest.fixture
async def rooms(database_url: str) -> AsyncIterator[Bench]:
    called.clear()
    go_on.set()
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("create table rooms (id int primary key)")
    async with bench(database_url, pairs, halves, declared=declared) as opened:
        yield opened


async def read(rooms: Bench) -> dict[tuple[str, int], HandlerStatus]:
    found = await read_status(rooms.connection, declared.handlers)
    return {(status.handler, status.shard): status for status in found}


async def test_what_is_left_of_an_open_window_counts(rooms: Bench) -> None:
    """Of five events two are delivered, two are left in the window, and more come after it."""
    await rooms.execute("insert into rooms select generate_series(1, 4)")
    (consumer,) = (c for c in rooms.consumers if c.handler.name == "pairs")
    assert await consumer.turn() is Turn.WORKED
    await rooms.execute("insert into rooms values (5)")
    found = await read(rooms)
    assert found["pairs", 0].behind == 3
    await rooms.drain()
    assert {status.behind for status in (await read(rooms)).values()} == {0}


async def test_each_shard_counts_its_own_keys(rooms: Bench) -> None:
    """Together the shards are behind by what there is."""
    await rooms.execute("insert into rooms select generate_series(1, 100)")
    found = await read(rooms)
    first, second = found["halves", 0].behind, found["halves", 1].behind
    assert first is not None
    assert second is not None
    assert first + second == 100
    assert min(first, second) > 20


async def test_who_is_at_work_is_named(rooms: Bench) -> None:
    """While a batch runs, its cursor is in the hands of that worker, and no other's is."""
    await rooms.execute("insert into rooms values (1)")
    go_on.clear()
    (consumer,) = (c for c in rooms.consumers if c.handler.name == "pairs")
    running = asyncio.create_task(consumer.turn())
    await called.wait()
    found = await read(rooms)
    assert (found["pairs", 0].state, found["pairs", 0].who) == ("working", ["hearken testing"])
    assert (found["halves", 0].state, found["halves", 0].who) == ("nobody", [])
    go_on.set()
    await running
