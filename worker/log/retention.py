"""Keeps the log and what belongs to it as long as wanted and no longer. Beside the consumers.

clock       how much older than it is everything must look, while the server's clock is not trusted
also        what else grows old, such as runs: needs no owner's rights
uncaptured  statements that were not captured, once they are old
partitions  made ahead; dropped when old and passed by every cursor
lookups     the index on the keys, built where it is missing and told what was appended
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, LiteralString

import structlog
from psycopg import AsyncConnection, errors
from psycopg.rows import scalar_row

from worker.log import uncaptured
from worker.log.lookups import summarize
from worker.log.partitions import drop_partitions, index_closed, make_partitions, sweep_default
from worker.postgres.database import Database
from worker.telemetry.error_line import error_line

logger = structlog.get_logger("retention")

Sweep = Callable[[AsyncConnection[Any], int], Awaitable[int]]

HOUR = 3600.0
SOON = 60.0

# A clock that was seen a moment ago and is hours ahead has jumped, or nobody looked: that cannot be told apart. So the
# trusted time follows it at no more than twice its pace, and after a gap of more than a day hardly at all; a clock that
# goes back is followed at once. Whole days, rounded up, are what it is behind.
FOLLOW: LiteralString = """
update hearken.retention
set trusted = least(now(), trusted + case when now() - seen > interval '1 day' then interval '1 hour'
                                          else 2 * greatest(now() - seen, interval '0') end),
    seen = now()
returning ceil(extract(epoch from now() - trusted) / 86400)::int
"""


async def follow_clock(connection: AsyncConnection[Any]) -> int:
    """Look at the server's clock; returns the days for which everything is kept longer, because it is not trusted."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        (days,) = await (await cursor.execute(FOLLOW)).fetchall()
    if days:
        logger.warning("the server's clock has jumped, or no worker ran: old events are kept longer", days=days)
    return int(days)


class Retention:
    """Keeps what grows old in order, at the start and then hourly, until cancelled.

    also  what else grows old: each is given a connection and the days, and deletes what is older
    """

    def __init__(self, database: Database, days: int, *, also: Sequence[Sweep] = (), soon: float = SOON) -> None:
        self._database = database
        self._days = days
        self._also = (*also, uncaptured.trim)
        self._soon = soon

    async def run(self) -> None:
        """Never raises: the log takes events without it, so errors are logged and retried."""
        while True:
            pause = HOUR
            try:
                await self.tidy()
            except errors.LockNotAvailable:
                logger.info("could not get a lock, retrying soon")
                pause = self._soon
            except errors.InsufficientPrivilege:
                logger.warning(
                    "partitions are left as they are: only the owner of hearken.events may create and drop them"
                )
            except Exception as error:
                logger.warning("partition maintenance failed, retrying", reason=error_line(error))
                pause = self._soon
            await asyncio.sleep(random.uniform(0.8, 1.2) * pause)  # noqa: S311

    async def tidy(self) -> None:
        """Make what is missing ahead, drop what is old. Raises what the database raises."""
        connection = await self._database.connect()
        try:
            days = self._days + await follow_clock(connection)
            for sweep in self._also:  # needs no owner's rights, as what follows does
                await sweep(connection, days)
            made = await make_partitions(connection)
            dropped = await drop_partitions(connection, days)
            swept = await sweep_default(connection, days)
            indexed = await index_closed(connection)
            await summarize(connection)
        finally:
            await connection.close()
        if made or dropped or swept or indexed:
            names = {"made": [p.name for p in made], "dropped": [p.name for p in dropped], "swept": swept}
            logger.info("partitions created, dropped or indexed", **names, indexed=indexed)
