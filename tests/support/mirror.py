"""The effect of the transactional handlers of `observed`: the table `mirror`, watched by a LISTEN."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from tests.support.observed.writing import MIRROR
from tests.support.things import connect
from tests.support.waiting import eventually


class Mirror:
    """What the handler has written so far, of the database at `url`."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def make(self) -> None:
        """Make the table."""
        async with await connect(self._url) as connection:
            await connection.execute(MIRROR)

    async def events(self) -> list[int]:
        """The events written down, in order."""
        async with await connect(self._url) as connection:
            rows = await (await connection.execute("select event from mirror order by id")).fetchall()
        return [event for (event,) in rows]

    async def versions(self) -> dict[str, list[int]]:
        """The versions written down of each key, in order; a delete is the one it deleted."""
        found: dict[str, list[int]] = defaultdict(list)
        async with await connect(self._url) as connection:
            rows = await (await connection.execute("select key, version from mirror order by id")).fetchall()
        for key, version in rows:
            found[key].append(version)
        return dict(found)

    async def until(self, count: int, seconds: float = 20) -> None:
        """Wait until so many rows are there, also while the server goes away and comes back."""
        await eventually(lambda: self._is_full(count), f"mirror of {count} events", seconds)

    async def _is_full(self, count: int) -> bool:
        try:
            async with self._listening() as connection:
                while True:
                    row = await (await connection.execute("select count(*) from mirror")).fetchone()
                    if row is not None and row[0] >= count:
                        return True
                    async for _ in connection.notifies(stop_after=1):
                        pass
        except psycopg.OperationalError:
            return False  # the server is away

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[psycopg.AsyncConnection[tuple[Any, ...]]]:
        async with await connect(self._url) as connection:
            await connection.execute("listen mirror")
            yield connection
