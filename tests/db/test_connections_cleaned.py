"""Promise: what a handler sets on a connection is gone when the next one is given it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, LiteralString

import pytest
from psycopg import AsyncClientCursor, IsolationLevel
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from tests.support.watched import declare
from worker import Change, Context
from worker.declare.registry import Registry
from worker.postgres.connection import Connection
from worker.postgres.database import Database
from worker.settings import Settings
from worker.testing import bench

# What a session can have of its own, as rows that are the same for two clean ones.
STATE: LiteralString = """
select 'setting' as kind, name, setting as value from pg_settings
where name not in ('transaction_isolation', 'transaction_read_only')
union all select 'user', current_user, session_user
union all select 'setting', 'custom', coalesce(current_setting('app.tenant', true), '')
union all select 'setting', 'origin', coalesce(current_setting('hearken.origin', true), '')
union all select 'lock', mode, objid::text from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()
union all select 'listens', channel, '' from pg_listening_channels() channel
union all select 'temporary', relname, '' from pg_class where relnamespace = pg_my_temp_schema()
union all select 'cursor', name, '' from pg_cursors where is_holdable
union all select 'prepared', name, '' from pg_prepared_statements where from_sql
order by 1, 2, 3
"""

LEFT_BEHIND = [
    "set search_path = acme",
    "select set_config('search_path', 'acme', false)",
    "set app.tenant = 'acme'",
    "set hearken.origin = 'somebody else'",
    "set row_security = on",
    "set statement_timeout = 1",
    "set default_transaction_isolation = serializable",
    "set default_transaction_read_only = on",
    "set client_encoding = latin1",
    "set session_replication_role = replica",
    "set role pg_monitor",
    "set session authorization pg_monitor",
    "select pg_advisory_lock(42)",
    "select pg_advisory_lock_shared(42)",
    "listen somewhere",
    "create temporary table notes (t text)",
    "prepare mine as select 1",
    "declare mine cursor with hold for select 1",
    "begin",
    "begin; insert into tenants values ('lost')",
    "reset all",
]
OPTIONS = ["autocommit", "isolation", "read only", "deferrable", "rows", "cursors"]


@asynccontextmanager
async def one_connection(url: str) -> AsyncIterator[Database]:
    """A database whose handlers share a single connection."""
    database = Database(Settings.model_validate({"DATABASE_URL": url, "HEARKEN_CONNECTIONS": "1"}))
    await database.open()
    try:
        async with database.connection() as connection:
            await connection.execute("create schema acme; create table tenants (name text)", prepare=False)
        yield database
    finally:
        await database.close()


async def state(connection: Connection) -> list[Any]:
    assert connection.info.transaction_status is TransactionStatus.IDLE
    rows = await (await connection.execute(STATE)).fetchall()
    options = (connection.autocommit, connection.isolation_level, connection.read_only, connection.deferrable)
    return [*map(tuple, map(dict.values, rows)), options, connection.row_factory, connection.cursor_factory]


async def set_option(connection: Connection, option: str) -> None:
    match option:
        case "autocommit":
            await connection.set_autocommit(False)
        case "isolation":
            await connection.set_isolation_level(IsolationLevel.SERIALIZABLE)
        case "read only":
            await connection.set_read_only(True)
        case "deferrable":
            await connection.set_deferrable(True)
        case "rows":
            connection.row_factory = tuple_row  # type: ignore[assignment]
        case _:
            connection.cursor_factory = AsyncClientCursor


@pytest.mark.parametrize("end", ["returns", "fails", "is cancelled"])
@pytest.mark.parametrize("left", [*LEFT_BEHIND, *OPTIONS])
async def test_the_next_borrower_finds_nothing(database_url: str, left: str, end: str) -> None:
    """However the use ends: settings, role, locks, channels, temporary tables, cursors, transactions, options."""
    async with one_connection(database_url) as database:
        async with database.connection() as connection:
            before = await state(connection)

        async def use() -> None:
            async with database.connection("somebody") as connection:
                if left in OPTIONS:
                    await set_option(connection, left)
                else:
                    await connection.execute(left.encode(), prepare=False)
                if end == "fails":
                    raise KeyError
                if end == "is cancelled":
                    asyncio.current_task().cancel()  # type: ignore[union-attr]
                    await asyncio.Event().wait()

        with suppress(KeyError, asyncio.CancelledError):
            await asyncio.create_task(use())
        async with database.connection() as connection:
            assert await state(connection) == before
            assert (await (await connection.execute("select count(*) as n from tenants")).fetchone()) == {"n": 0}


async def test_a_clean_connection_is_kept(database_url: str) -> None:
    """Settings are taken back on the connection itself: making a new one each time would be dear."""
    async with one_connection(database_url) as database:
        used = set()
        for _ in range(10):
            async with database.connection("somebody") as connection:
                await connection.execute("set search_path = acme")
                used.add(connection.info.backend_pid)
    assert len(used) == 1


TRANSACTIONAL = [
    "set search_path = acme",
    "set role pg_monitor",
    "set app.tenant = 'acme'",
    "set row_security = on",
    "set statement_timeout = '1min'",
    "set default_transaction_isolation = serializable",
    "set client_encoding = latin1",
    "set enable_indexscan = off",
    "select pg_advisory_lock(42)",
    "listen somewhere",
    "create temporary table notes (t text)",
    "prepare mine as select 1",
    "declare mine cursor with hold for select 1",
]


@pytest.mark.parametrize("left", TRANSACTIONAL)
async def test_the_next_batch_finds_nothing(database_url: str, left: str) -> None:
    """The batch's own transaction is handed to a transactional handler: what it sets there ends with the batch."""
    declared = Registry()
    seen: list[list[Any]] = []

    @declared.on("public.rooms", transactional=True)
    async def exact(changes: list[Change], ctx: Context) -> None:
        rows = await (await ctx.transaction.execute(STATE, prepare=False)).fetchall()
        seen.append([row for row in rows if row["kind"] != "lock" or row["value"] == "42"])  # beside the claim's own
        await ctx.transaction.execute(left.encode(), prepare=False)

    async with one_connection(database_url) as database:
        async with database.connection() as connection:
            await connection.execute("create table rooms (id int primary key)")
        async with bench(database_url, exact, declared=declared) as rooms:
            for number in range(3):
                await rooms.execute("insert into rooms values (%s)", (number,))
                await rooms.drain()
            assert await rooms.parked() == []
    assert seen[0] == seen[1] == seen[2]


async def test_the_engine_settles_as_itself_whatever_the_handler_has_set(database_url: str) -> None:
    """A role that may nothing, and a path to other tables, are the handler's: the cursor moves all the same."""
    calls = 0

    async def foreign(change: Change, ctx: Context) -> None:
        nonlocal calls
        calls += 1
        async with ctx.connection() as db:
            await db.execute("set role pg_monitor")
            await db.execute("set search_path = pg_temp")

    declared = declare("public.rooms", "foreign", call=foreign)
    async with one_connection(database_url) as database, database.connection() as connection:
        await connection.execute("create table rooms (id int primary key)")
        async with bench(database_url, declared.handlers["foreign"].function, declared=declared) as rooms:
            await rooms.execute("insert into rooms values (1), (2)")
            await rooms.drain()
            assert await rooms.drain() == 0
            assert await rooms.parked() == []
    assert calls == 2
