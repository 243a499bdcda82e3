"""An event that ends the process that delivers it: how the workers that are left find out which one it is.

Whoever begins or takes a cursor over looks for workers that have gone without a goodbye. If there are any, `batch`
writes down which events it is about to deliver, a few at a time, before it delivers them. Those whose worker dies then
are delivered one by one, and one that has been begun `MOST_STARTS` times so without an end is dead (see `takeover`).
"""

from __future__ import annotations

import asyncio
from typing import LiteralString

from psycopg.rows import scalar_row

from worker.postgres.database import Connection, Database

# Seconds after which a worker that is not heard of counts as gone; it sends itself a NOTIFY every five.
SILENT_AFTER = 15
# So often may an event be begun and not ended: once among others, and then alone, so that a few kills of workers at bad
# moments bury no innocent one.
MOST_STARTS = 4
# How many events are written down at a time, and for how many events after a death that is done, at most.
AT_ONCE = 10
WATCHED = 1000

GREET: LiteralString = "insert into hearken.workers (worker) values (%s) on conflict do nothing"
LEAVE: LiteralString = "delete from hearken.workers where worker = %s"
# Known for a minute to whoever begins or takes over, and then forgotten.
GONE: LiteralString = """
with gone as materialized (
    select w.worker from hearken.workers w
    where w.worker <> %(worker)s and not hearken.worker_lives(w.worker, make_interval(secs => %(silent_after)s))),
forgotten as (
    delete from hearken.workers w using gone
    where w.worker = gone.worker and w.noticed_at < now() - interval '1 minute'),
noticed as (
    update hearken.workers w set noticed_at = now() from gone where w.worker = gone.worker and w.noticed_at is null)
select g.worker from gone g join hearken.workers w using (worker)
where coalesce(w.noticed_at, now()) >= now() - interval '1 minute'
"""


class Suspicion:
    """What this process knows of the deaths of others.

    deaths  how many it has learnt of
    alone   held by the delivery that runs alone, so that a death is its own
    """

    def __init__(self, database: Database) -> None:
        self.deaths = 0
        self.alone = asyncio.Lock()
        self._database = database
        self._known: set[int] = set()

    async def begin(self, connection: Connection, worker: int) -> None:
        """Say that this worker works, and look who has gone."""
        await connection.execute(GREET, (worker,))
        await self._look(connection, worker)

    async def look(self, worker: int) -> None:
        """Look who has gone without a goodbye."""
        async with self._database.engine.connection() as connection:
            await self._look(connection, worker)

    async def end(self, worker: int) -> None:
        """Say goodbye: nothing that was delivered here has ended the process."""
        async with self._database.engine.connection() as connection:
            await connection.execute(LEAVE, (worker,))

    async def _look(self, connection: Connection, worker: int) -> None:
        async with connection.cursor(row_factory=scalar_row) as cursor:
            await cursor.execute(GONE, {"worker": worker, "silent_after": SILENT_AFTER})
            gone = set(await cursor.fetchall()) - self._known
        self._known |= gone
        self.deaths += len(gone)
