"""Backfills run by hand, for tests of the engine alone; those of the command run it as a program."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.support.shop import open_database
from worker.backfill import Filler, Wish, begin, claim
from worker.registry import Registry
from worker.tables import read_table


@asynccontextmanager
async def filler(url: str, declared: Registry, topic: str, **wish: Any) -> AsyncIterator[Filler]:
    """A backfill, claimed and begun (or gone on with), on a connection of its own."""
    async with open_database(url) as database:
        connection = await database.connect()
        try:
            wanted = Wish(await read_table(connection, topic), wish.get("condition"), wish.get("handlers"), "anna@desk")
            backfill = await claim(connection, wanted) or await begin(connection, wanted)
            yield Filler(connection, backfill, wanted.table, declared.handlers.values())
        finally:
            await connection.close()


def untold(_passed: int, _aside: int) -> None:
    """Nobody watches."""
