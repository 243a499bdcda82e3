"""A table `rooms` with a handler that the brake watches over, and what it has been given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.support.watched import declare
from worker import Change, Context
from worker.operate.audit import Actor
from worker.operate.handlers import confirm_brake
from worker.testing import Bench, bench

TABLE = "create table rooms (id integer primary key, name text, active boolean)"
FILL = "insert into rooms select i, 'room ' || i, true from generate_series(1, %s) i"
ANNA = Actor("anna@desk", "meant so")


@dataclass
class Rooms:
    """The table behind a handler named `hear`; `given` holds the ops it was called with since `fill`."""

    url: str
    bench: Bench
    given: list[str]

    async def fill(self, rows: int) -> None:
        """So many active rooms, delivered."""
        await self.bench.execute(FILL, (rows,))
        await self.bench.drain()
        assert not await self.braked()
        self.given.clear()

    async def run(self, *statements: str) -> None:
        """Run them in one transaction, and then the handler."""
        async with self.bench.connection.transaction():
            for statement in statements:
                await self.bench.execute(statement)
        await self.bench.drain()

    async def braked(self) -> dict[str, Any] | None:
        """What the brake has seen, while it is on."""
        rows = await self.bench.execute(
            "select deleted, archived, truncated, of_rows from hearken.brakes where released_at is null"
        )
        return rows[0] if rows else None

    async def snapshot(self) -> str:
        """What is visible now."""
        (row,) = await self.bench.execute("select pg_current_snapshot()::text as now")
        return str(row["now"])

    async def confirm(self) -> None:
        """What a person does with --confirm; and then the handler runs."""
        await confirm_brake(self.bench.connection, "hear", ANNA)
        await self.bench.drain()


@asynccontextmanager
async def open_rooms(url: str, **options: Any) -> AsyncIterator[Rooms]:
    """Make the table and watch it; `options` are those of the handler."""
    given: list[str] = []

    async def hear(change: Change, ctx: Context) -> None:
        given.append(change.op)

    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(TABLE)
    declared = declare("public.rooms", call=hear, **{"active": "active", **options})
    async with bench(url, declared.handlers["hear"].function, declared=declared) as stage:
        yield Rooms(url, stage, given)
