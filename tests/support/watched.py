"""A watched table of a test's own: write to it as an application would, and read what was captured."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from worker import Change, Context
from worker.change import former, parse
from worker.declare.registry import Registry
from worker.install import migrations
from worker.install.migrate import Pending, migrate

AFTER = "select *, old::text as former, new::text as present from hearken.events where id > %s order by id"

Handler = Callable[[Change, Context], Awaitable[None]]


class Event(NamedTuple):
    """What a test compares: an event without its number, time and transaction."""

    op: str
    key: str | None
    old: dict[str, Any] | None = None
    new: dict[str, Any] | None = None


async def nothing(change: Change, ctx: Context) -> None:
    """A handler that does nothing."""


def declare(
    topic: str, name: str = "hear", into: Registry | None = None, call: Handler = nothing, **options: Any
) -> Registry:
    """A registry with one more external handler of the topic."""
    declared = into or Registry()

    async def handler(change: Change, ctx: Context) -> None:
        await call(change, ctx)

    handler.__name__ = name
    declared.on(topic, **options)(handler)
    return declared


class Watched:
    """A database with a watched table; `connection` is an application's, in autocommit."""

    def __init__(self, connection: AsyncConnection[DictRow]) -> None:
        self.connection = connection
        self._seen = 0

    async def execute(self, *statements: str) -> None:
        """Run statements, each committed by itself."""
        for statement in statements:
            await self.connection.execute(statement.encode())

    async def rows(self, query: str, parameters: tuple[Any, ...] = ()) -> list[DictRow]:
        """What a query returns."""
        return await (await self.connection.execute(query.encode(), parameters)).fetchall()

    async def migrate(self, declared: Registry) -> Pending:
        """What `hearken migrate` does for these handlers."""
        return await migrate(self.connection, declared)

    async def events(self) -> list[dict[str, Any]]:
        """The events since this was last asked, with every column."""
        rows = await self.rows(AFTER, (self._seen,))
        self._seen = max([self._seen, *(row["id"] for row in rows)])
        return rows

    async def captured(self, *statements: str) -> list[Event]:
        """Run the statements; the events since this was last asked."""
        await self.execute(*statements)
        return [_event(e) for e in await self.events()]


def _event(row: dict[str, Any]) -> Event:
    old = former(row["op"], row["former"], row["present"])
    return Event(row["op"], row["key"], parse(old), parse(row["present"]))


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[AsyncConnection[DictRow]]:
    """An application's connection, in autocommit, rows as dicts."""
    async with await AsyncConnection.connect(url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@asynccontextmanager
async def watching(url: str, tables: str, topic: str, **options: Any) -> AsyncIterator[Watched]:
    """Create the tables, and watch one of them for a handler with these options."""
    async with connect(url) as connection:
        await migrations.apply(connection, migrations.find_migrations([]))
        await connection.execute(tables.encode())
        watched = Watched(connection)
        await watched.migrate(declare(topic, **options))
        yield watched
