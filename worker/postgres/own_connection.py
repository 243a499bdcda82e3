"""One connection to look at the database with, for `health` and `doctor`: opened when first asked for, and kept.

Apart from the pools, because a pool that handlers have used up must not look like an unreachable database.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import LiteralString

from psycopg.pq import TransactionStatus

from worker.postgres.database import Connection, Database

# Seconds in which the server must answer: with an error of its own first, so that the connection can be kept.
STATEMENT = 2.5
ANSWER = 3.0

IDLE = TransactionStatus.IDLE
LIMIT: LiteralString = "select set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false)"


class Inspection:
    """The connection, lent to one at a time. Left in the middle of something, it is replaced."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None
        self._busy = asyncio.Lock()

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as one can know without using it."""
        return self._connection is not None and not self._connection.closed

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """The connection, in autocommit. Raises psycopg.Error, Unsupported."""
        async with self._busy:
            try:
                if self._connection is None or self._connection.closed:
                    yield await self._connect()
                else:
                    yield self._connection
            finally:
                if self._connection is not None and self._connection.info.transaction_status is not IDLE:
                    await self.close()

    async def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connect(self) -> Connection:
        self._connection = connection = await self._database.connect()
        connection.call_timeout = ANSWER
        milliseconds = f"{STATEMENT * 1000:.0f}"
        await connection.execute(LIMIT, (milliseconds, milliseconds))
        return connection
