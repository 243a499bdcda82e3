"""A pool of our connections: who asks gets one that works, or an error of ours that says why there is none."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from worker.errors import ConnectionLost
from worker.postgres.connection import Connection

# Of a connection that comes back closed psycopg warns. It was closed by us, or it was lost while it was used: then its
# user gets ConnectionLost, which says why.
SAID_ALREADY = "discarding closed connection"
logging.getLogger("psycopg.pool").addFilter(lambda line: not line.msg.startswith(SAID_ALREADY))


# Seconds that the one waits who makes a pool connect anew: it is not for the connection.
MOMENT = 0.01


class Pool(AsyncConnectionPool[Connection]):
    """After a restart of the server the dead connections are found before anybody is given one.

    Its pauses between two tries to connect double, until `reconnect_timeout`. Then it begins anew, for those who wait.
    """

    async def reconnect_failed(self) -> None:
        """Ask for a connection, which makes the pool try again: otherwise it waits until somebody asks."""
        with contextlib.suppress(PoolTimeout, PoolClosed):
            await self.putconn(await super().getconn(MOMENT))

    async def getconn(self, timeout: float | None = None) -> Connection:  # noqa: ASYNC109
        """A connection that works. Raises ConnectionLost when there is none in time."""
        waited = f"no connection to the database could be had (pool {self.name}, {self.max_size} at most)"
        try:
            connection = await super().getconn(timeout)
            while not await connection.is_alive():
                await connection.close()
                await self.putconn(connection)
                connection = await super().getconn(timeout)
        except PoolTimeout as error:
            raise ConnectionLost(f"{waited} within {timeout or self.timeout:g} s") from error
        except asyncio.CancelledError as error:
            error.__cause__ = ConnectionLost(waited)  # whoever has a time limit sees what the time went to
            raise
        return connection
