"""Backfills run by hand, for tests of the engine alone; those of the command run it as a program."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from tests.support.shop import open_database
from worker.capture.catalog import read_table
from worker.declare.registry import Registry
from worker.operate.audit import Actor
from worker.operate.backfill import BackfillRequest, Filler, begin_backfill, lock_backfill


@asynccontextmanager
async def filler(url: str, declared: Registry, topic: str, **wish: Any) -> AsyncIterator[Filler]:
    """A backfill, claimed and begun (or gone on with), on a connection of its own."""
    async with open_database(url) as database:
        connection = await database.connect()
        try:
            wanted = BackfillRequest(
                await read_table(connection, topic), wish.get("condition"), wish.get("handlers"), Actor("anna@desk")
            )
            backfill = await lock_backfill(connection, wanted) or await begin_backfill(connection, wanted)
            yield Filler(connection, backfill, wanted, declared.handlers.values())
        finally:
            await connection.close()


def untold(_passed: int, _aside: int) -> None:
    """Nobody watches."""


@asynccontextmanager
async def telling(url: str, table: LiteralString) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A call that waits for the next commit of a write to the table."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(
            b"create function told() returns trigger language plpgsql as"
            b" 'begin perform pg_notify(''told'', ''''); return null; end'"
        )
        trigger = sql.SQL("create trigger told after insert or update on {} for each statement execute function told()")
        await connection.execute(trigger.format(sql.SQL(table)))
        await connection.execute("listen told")
        async with aclosing(connection.notifies(timeout=20)) as told:

            async def wait() -> None:
                async for _ in told:
                    return
                raise AssertionError(f"nothing was written to {table}")

            yield wait
