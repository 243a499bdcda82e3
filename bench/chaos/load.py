"""Load: the wild writers of the tests on `things`, parcels by COPY, spaces and sessions; they outlive a crash."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

import psycopg

from bench.chaos.systems import write_systems
from tests.support.things import connect
from tests.support.waiting import some_moment
from tests.support.writing import Writer

WRITERS = 4
_parcels = count(1)


async def put_parcel(url: str) -> int:
    """Commit a parcel, as soon as the server takes it; returns its number."""
    while True:
        number = next(_parcels)
        try:
            async with await connect(url) as connection:
                await connection.execute("insert into parcels values (%s, 1)", (number,))
        except psycopg.OperationalError:
            await asyncio.sleep(0.02)
        else:
            return number


async def _write(url: str, chance: random.Random) -> None:
    async with await connect(url) as connection:
        while True:
            await Writer(connection, chance).write(1)
            await some_moment(chance, 0.1)


async def _copy(url: str, chance: random.Random) -> None:
    """Parcels by COPY, some of which are rolled back."""
    async with await connect(url) as connection:
        while True:
            async with connection.transaction(force_rollback=chance.random() < 0.2):
                async with connection.cursor() as cursor, cursor.copy("copy parcels from stdin") as copy:
                    for _ in range(chance.choice((1, 5, 40))):
                        await copy.write_row((next(_parcels), 1))
            await some_moment(chance, 0.3)


async def _systems(url: str, chance: random.Random) -> None:
    async with await connect(url) as connection:
        await write_systems(connection, chance)


async def _keep_on(url: str, chance: random.Random, write: Callable[[str, random.Random], Awaitable[None]]) -> None:
    while True:
        try:
            await write(url, chance)
        except psycopg.OperationalError:  # the server is away, or this session was ended
            await some_moment(chance, 0.2)


@asynccontextmanager
async def load(url: str, seed: str) -> AsyncIterator[None]:
    """Writers at work while the context lasts."""
    tasks = [
        asyncio.create_task(_keep_on(url, random.Random(f"{seed}/{number}"), write))
        for number, write in enumerate((_copy, _systems, *[_write] * WRITERS))
    ]
    try:
        yield
        ended = [task for task in tasks if task.done()]
        assert not ended, f"a writer ended: {ended[0]}"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
