"""Promise: a delivery's connections do not wait for its neighbours', and their loss is not held against its handler."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.support.watched import connect, declare
from worker import Change, Context
from worker.dev.embedded import EmbeddedPostgres
from worker.errors import ConnectionLost, Unsupported
from worker.postgres.database import Database
from worker.postgres.pool import Pool
from worker.settings import Settings
from worker.testing import Bench, bench

KEYS = 20
Call = Callable[[Change, Context], Awaitable[None]]


@asynccontextmanager
async def delivering(
    url: str, call: Call, monkeypatch: pytest.MonkeyPatch, connections: int = 4, **options: Any
) -> AsyncIterator[Bench]:
    """A bench with one handler of `rooms`, whose database lends so many connections."""
    async with connect(url) as connection:
        await connection.execute("create table rooms (id int primary key, name text)")
        await connection.execute("create table board (room text)")
    monkeypatch.setenv("HEARKEN_CONNECTIONS", str(connections))
    declared = declare("public.rooms", "follow", call=call, **options)
    async with bench(url, declared.handlers["follow"].function, declared=declared) as rooms:
        yield rooms


async def write(change: Change, ctx: Context) -> None:
    async with ctx.connection() as db:
        await db.execute("insert into board values (%s)", (change.key,))


async def row_inside(change: Change, ctx: Context) -> None:
    async with ctx.connection() as db:
        row = await ctx.row(change)
        assert row is not None
        await db.execute("insert into board values (%s)", (change.key,))


async def effect_inside(change: Change, ctx: Context) -> None:
    async with ctx.connection() as db, db.transaction():
        await db.execute("insert into board values (%s)", (change.key,))
        async with ctx.effect(change, "post", {}) as effect:
            await ctx.row(change)
            effect.done()


async def all_of_it(change: Change, ctx: Context) -> None:
    async with ctx.effect(change, "post", {}) as effect, ctx.connection():
        await row_inside(change, ctx)
        effect.done()


async def three_deep(change: Change, ctx: Context) -> None:
    async with ctx.connection(), ctx.connection():
        await write(change, ctx)


async def side_by_side(change: Change, ctx: Context) -> None:
    async def look() -> None:
        async with ctx.connection() as db:
            await db.execute("select 1")

    async with ctx.connection():
        await asyncio.gather(*(look() for _ in range(5)))
    await asyncio.gather(write(change, ctx), look(), look())


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("call", [row_inside, effect_inside, all_of_it, three_deep, side_by_side])
async def test_connections_inside_each_other_do_not_wait_for_neighbours(
    database_url: str, call: Call, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty keys at once, each with one connection in its hands when it asks for the next."""
    async with delivering(database_url, call, monkeypatch, connections, concurrency=KEYS, timeout=15) as rooms:
        await rooms.execute("insert into rooms select i, 'room' from generate_series(1, %s) i", (KEYS,))
        async with asyncio.timeout(20):
            await rooms.drain()
        assert await rooms.parked() == []
        (board,) = await rooms.execute("select count(*) as n from board")
        assert board["n"] == KEYS


async def test_a_row_is_read_while_neighbours_hold_every_connection(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's own statements have connections of their own."""
    told: list[str] = []
    both = asyncio.Event()

    async def follow(change: Change, ctx: Context) -> None:
        if change.key == "1":
            async with ctx.connection():
                await both.wait()
        else:
            assert await ctx.row(change) is not None
            async with ctx.effect(change, "post", {}) as effect:
                effect.done()
            both.set()
        told.append(str(change.key))

    async with delivering(database_url, follow, monkeypatch, connections=1) as rooms:
        await rooms.execute("insert into rooms values (1, 'a'), (2, 'b')")
        async with asyncio.timeout(10):
            await rooms.drain()
    assert sorted(told) == ["1", "2"]


async def end(url: str, pid: int) -> None:
    """The server ends this session, as when it restarts."""
    async with connect(url) as other:
        await other.execute("select pg_terminate_backend(%s, 5000)", (pid,))


async def in_use(url: str, ctx: Context) -> None:
    async with ctx.connection() as db:
        await end(url, db.info.backend_pid)
        await db.execute("select 1")


async def used_again(url: str, ctx: Context) -> None:
    async with ctx.connection() as db:
        await end(url, db.info.backend_pid)
        try:
            await db.execute("select 1")
        except psycopg.OperationalError:
            await db.execute("select 1")


async def wrapped(url: str, ctx: Context) -> None:
    try:
        await in_use(url, ctx)
    except psycopg.OperationalError as error:
        raise RuntimeError("some library's own error") from error


async def hidden(url: str, ctx: Context) -> None:
    try:
        await in_use(url, ctx)
    except psycopg.OperationalError:
        raise KeyError from None


async def in_a_group(url: str, ctx: Context) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(in_use(url, ctx))
        group.create_task(asyncio.Event().wait())


async def none_to_be_had(url: str, ctx: Context) -> None:
    """Its time is up while it waits for one."""
    async with ctx.services.database.work.connection():
        await asyncio.create_task(in_use(url, ctx), context=contextvars.Context())


LOSSES = [in_use, used_again, wrapped, hidden, in_a_group, none_to_be_had]


@pytest.mark.parametrize("lose", LOSSES)
async def test_a_connection_of_ours_that_is_lost_is_no_attempt(
    database_url: str, lose: Callable[[str, Context], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even for a handler with one attempt: the event is parked as due, says why, and is delivered later."""
    calls = 0

    async def follow(change: Change, ctx: Context) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            await lose(database_url, ctx)
        await write(change, ctx)

    async with delivering(database_url, follow, monkeypatch, connections=1, attempts=1, timeout=3) as rooms:
        await rooms.execute("insert into rooms values (1, 'a')")
        await rooms.drain()
        (parked,) = await rooms.parked()
        assert (parked["state"], parked["attempt"]) == ("due", 0)
        assert "connection to the database" in parked["reason"]
        await rooms.execute("update hearken.parked set due_at = now()")
        await rooms.drain()
        assert await rooms.execute("select room from board") == [{"room": "1"}]


async def test_a_connection_of_the_handlers_own_that_is_lost_is_its_failure(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To another database perhaps, which we know nothing of."""

    async def follow(change: Change, ctx: Context) -> None:
        async with connect(database_url) as own:
            await end(database_url, own.info.backend_pid)
            await own.execute("select 1")

    async with delivering(database_url, follow, monkeypatch, attempts=1) as rooms:
        await rooms.execute("insert into rooms values (1, 'a')")
        await rooms.drain()
        (parked,) = await rooms.parked()
        assert (parked["state"], parked["attempt"]) == ("dead", 1)


@pytest.mark.parametrize("how", ["restart", "kill"])
async def test_after_a_restart_no_dead_connection_is_handed_out(postgres: EmbeddedPostgres, how: str) -> None:
    """Of none of the pools: the first use after it works, however many connections were idle in it."""
    database = Database(Settings.model_validate({"DATABASE_URL": postgres.url}))
    await database.open()
    try:
        for pool in database.pools:
            together = asyncio.Barrier(pool.max_size)
            await asyncio.gather(*(hold(pool, together) for _ in range(pool.max_size)))
        if how == "kill":
            await asyncio.to_thread(postgres.kill)
            await asyncio.to_thread(postgres.start)
        else:
            await asyncio.to_thread(postgres.restart)
        for pool in database.pools:
            async with asyncio.timeout(10), pool.connection() as connection:
                await connection.execute("select 1")
        async with database.connection("somebody") as connection:
            await connection.execute("select 1")
    finally:
        await database.close()


async def hold(pool: Pool, together: asyncio.Barrier) -> None:
    async with pool.connection():
        await together.wait()


async def test_without_a_database_the_wait_ends_with_an_error_of_ours(postgres: EmbeddedPostgres) -> None:
    """It says which pool, how many, and how long, and every library takes it for a lost connection."""
    database = Database(Settings.model_validate({"DATABASE_URL": postgres.url, "HEARKEN_QUERY_TIMEOUT": "0.5"}))
    await database.open()
    try:
        await asyncio.to_thread(postgres.stop)
        with pytest.raises(ConnectionLost, match=r"pool work, 4 at most.* within 0.5 s") as lost:
            async with database.connection():
                pass
        assert isinstance(lost.value, psycopg.OperationalError)
    finally:
        await database.close()


async def test_nothing_is_delivered_that_could_not_be_recorded(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that takes no writes says so before the handler is called, not when the batch is settled."""
    calls = 0

    async def follow(change: Change, ctx: Context) -> None:
        nonlocal calls
        calls += 1

    async with delivering(database_url, follow, monkeypatch) as rooms:
        await rooms.execute("insert into rooms values (1, 'a')")
        (row,) = await rooms.execute("select current_database() as name")
        database, batches = sql.Identifier(row["name"]), rooms.consumers[0]._services.database.batches
        change = sql.SQL("alter database {} set default_transaction_read_only = {}")
        await rooms.connection.execute(change.format(database, sql.SQL("on")))
        await batches.drain()
        await batches.wait()
        with pytest.raises(Unsupported, match="takes no writes"):
            await rooms.drain()
        assert calls == 0
        await rooms.connection.execute(change.format(database, sql.SQL("off")))
        await batches.drain()
        await batches.wait()
        await rooms.drain()
    assert calls == 1
