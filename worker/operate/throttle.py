"""How fast a replay appends: at most a number of events per second, and only a moment ahead of the handlers.

A change that is committed during a replay stands behind what was appended before it. So the next chunk is appended
only when the handlers' cursors have passed the last one, and is made as large as they do in a quarter of a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from worker.declare.handler import Handler
from worker.doorbell.waiting import wait_until_set
from worker.operate.replay import Chunk, Replay, append_chunk
from worker.postgres.database import CLUSTER

# Seconds: a chunk is appended so often; handlers should be through with one in PROMPT; they are asked each LOOK, and
# whether anybody runs them each ATTENDANCE; after PATIENCE it is said for whom the replay waits.
TICK = 0.05
PROMPT = 0.25
LOOK = 0.005
ATTENDANCE = 5.0
WARN_AFTER = 3.0
# Fewest and most events in a chunk: most handlers work on the fewest side by side; the most take a fast one a few
# milliseconds.
FEWEST = 4
MOST = 200
# The handlers whose cursors have not yet passed an event. A paused one, or one of another database, is not waited for.
WAITING: LiteralString = (
    """
select h.name from unnest(%(names)s::text[], %(shards)s::int[]) h (name, shards)
cross join generate_series(0, h.shards - 1) s (shard) cross join lateral (
    select c.* from hearken.cursors c where c.handler = h.name and c.shard = s.shard order by c.seq desc limit 1) c
where not hearken.passed(%(tx)s::xid8, %(id)s::bigint, c.done, c.target, c.last_id)
  and not exists (select from hearken.paused p where p.handler = h.name) and c.cluster = """
    + CLUSTER
)
WORKERS: LiteralString = """
select exists (select from pg_catalog.pg_stat_activity
               where datname = current_database() and application_name like 'hearken %:%')
"""


@dataclass
class Throttle:
    """When the next chunk may come, and how large.

    rate     events per second, at most
    stop     set to end it between two chunks
    waiting  called with the handlers that are waited for, again and again, when it takes long
    """

    connection: AsyncConnection[Any]
    handlers: Sequence[Handler]
    rate: float
    stop: asyncio.Event
    waiting: Callable[[list[str]], None]
    _size: float = FEWEST
    _due: float = field(default_factory=time.monotonic)
    _looked: float = -ATTENDANCE
    _attended: bool = False

    @property
    def size(self) -> int:
        """How many events the next chunk may have."""
        return max(1, round(min(self._size, self.rate * TICK, MOST)))

    async def passed(self, chunk: Chunk) -> None:
        """Return when the next chunk may be appended after this one, or when `stop` is set."""
        began = time.monotonic()
        self._due = max(self._due, began - TICK) + len(chunk.events) / self.rate
        while chunk.events and not self.stop.is_set() and await self._is_attended():
            behind = await self._behind(chunk.events[-1])
            seconds = time.monotonic() - began
            if not behind:
                self._size = max(FEWEST, self._size / 2) if seconds > PROMPT else min(MOST, self._size * 1.25 + 1)
                break
            if seconds > WARN_AFTER:
                self.waiting(behind)
            await wait_until_set(self.stop, LOOK if seconds < PROMPT else 10 * LOOK)
        await wait_until_set(self.stop, self._due - time.monotonic())

    async def _behind(self, newest: dict[str, Any]) -> list[str]:
        whom = {"names": [h.name for h in self.handlers], "shards": [h.shards for h in self.handlers]}
        async with self.connection.cursor(row_factory=scalar_row) as cursor:
            await cursor.execute(WAITING, {**whom, "id": newest["id"], "tx": newest["tx"]})
            return sorted(set(await cursor.fetchall()))

    async def _is_attended(self) -> bool:
        """Whether there is a worker to wait for. With none the events wait in the log, like all others."""
        if time.monotonic() - self._looked > ATTENDANCE:
            async with self.connection.cursor(row_factory=scalar_row) as cursor:
                (self._attended,) = await (await cursor.execute(WORKERS)).fetchall()
            self._looked = time.monotonic()
        return self._attended


async def append_all(run: Replay, pace: Throttle) -> AsyncIterator[Chunk]:
    """Append what is left of a run, and give each chunk when it is committed. Ends early when the pace is stopped."""
    after = run.after
    while not pace.stop.is_set() and after < run.choice.last:
        chunk = await append_chunk(pace.connection, run, after, pace.size)
        if chunk is None:
            return
        after = chunk.last
        yield chunk
        if after < run.choice.last:
            await pace.passed(chunk)
