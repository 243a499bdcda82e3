"""Taking over what workers that are gone were running: due at once, or dead when it has ended too many of them.

And what this worker itself is said to be running, and is not: the commit of a batch may be lost on its way back.
"""

from __future__ import annotations

import math
import time
from typing import Any, LiteralString

import structlog
from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from worker.declare.handler import Handler
from worker.deliver import runs
from worker.deliver.context import Services
from worker.deliver.flights import Flights
from worker.deliver.suspicion import MOST_STARTS, SILENT_AFTER

logger = structlog.get_logger("takeover")

# Seconds between two looks, while anything is parked.
EVERY = 0.5

# In two steps: to ask who lives is only needed when somebody else runs something.
TAKE_OVER: LiteralString = """
update hearken.parked p
set state = case when p.starts < %(most_starts)s then 'due' else 'dead' end, due_at = now(), worker = null,
    attempt = case when p.starts < %(most_starts)s then p.attempt else p.attempt + 1 end,
    reason = case when p.starts < %(most_starts)s then p.reason else %(reason)s end
where p.handler = %(handler)s and p.state = 'running' and (
    p.worker = any(array(
        select w.worker from (
            select distinct r.worker from hearken.parked r
            where r.handler = %(handler)s and r.state = 'running' and r.worker <> %(worker)s) w
        where not hearken.worker_lives(w.worker, make_interval(secs => %(silent_after)s))))
    or p.worker = %(worker)s and not p.event_id = any(%(flying)s::bigint[])
       and hearken.shard_of(p.slot, %(shards)s) = %(shard)s)
returning p.event_id, p.state
"""


class TakeOver:
    """Of one consumer."""

    def __init__(self, handler: Handler, shard: int, services: Services, flights: Flights) -> None:
        self._handler = handler
        self._shard = shard
        self._services = services
        self._flights = flights
        self._looked_at = -math.inf

    async def look(self) -> None:
        """Now and then: take over from workers that are gone."""
        if time.monotonic() - self._looked_at < EVERY:
            return
        self._looked_at = time.monotonic()
        async with self._services.database.engine.connection() as connection:
            count, dead = await take_over(connection, self._handler, self._shard, self._flights)
        if count:
            await self._services.suspicion.look(self._flights.worker)
            logger.warning("taking over from a worker that is gone", handler=self._handler.name, events=count)
        for event_id in dead:
            logger.error("dead", handler=self._handler.name, event_id=event_id, reason="ends the worker's process")


async def take_over(
    connection: AsyncConnection[Any], handler: Handler, shard: int, flights: Flights
) -> tuple[int, list[int]]:
    """Make due at once what workers that are gone were running; returns how many events, and which are dead instead:
    those that have ended their worker too often.
    """
    reason = f"its worker's process ended each of {MOST_STARTS} times that it was being delivered"
    asked = {
        "handler": handler.name,
        "worker": flights.worker,
        "flying": flights.ids,
        "shards": handler.shards,
        "shard": shard,
        "silent_after": SILENT_AFTER,
        "most_starts": MOST_STARTS,
        "reason": reason,
    }
    async with connection.cursor(row_factory=tuple_row) as cursor:
        taken = await (await cursor.execute(TAKE_OVER, asked)).fetchall()
    dead = [event_id for event_id, state in taken if state == "dead"]
    if dead and not handler.is_table:
        await runs.decide(connection, dead, "dead", reason)
    return len(taken), dead
