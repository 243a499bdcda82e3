"""The ticker: sleeps until a schedule is due, and appends its tick. Every worker has one; `timetable` lets one append.

It goes by the database's clock, and remembers nothing: what a worker that was killed has not committed, any other
finds owed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable

import structlog
from tenacity import AsyncRetrying, RetryCallState, wait_random_exponential

from worker.declare.handler import Handler
from worker.errors import DeclarationError
from worker.postgres.database import Connection, Database
from worker.sources import timetable
from worker.sources.timetable import ScheduleEntry
from worker.telemetry.error_line import error_line, trace_of

logger = structlog.get_logger("schedules")

# Seconds to sleep at most: this machine may have been suspended, the database's clock set, a schedule changed.
LONGEST = 60.0
# Seconds until a look at a schedule that another worker is appending ticks of.
ELSEWHERE = 0.5


class Ticker:
    """Appends the ticks of the handlers that have a schedule, until cancelled."""

    def __init__(self, database: Database, handlers: Iterable[Handler]) -> None:
        self._database = database
        self._handlers = sorted(handler.name for handler in handlers if handler.schedule is not None)

    async def run(self) -> None:
        """Errors are logged and retried: the worker outlives its database."""
        if not self._handlers:
            return
        retrying = AsyncRetrying(wait=wait_random_exponential(multiplier=0.1, max=1), before_sleep=_say)
        while True:
            wait: float = await retrying(self.turn)
            await asyncio.sleep(min(wait, LONGEST))

    async def turn(self) -> float:
        """Append what is owed by now; returns the seconds until the next tick is due. Raises what the database raises.

        The connection is made for this: those of the pools may all be in handlers' hands.
        """
        connection = await self._database.connect()
        try:
            while not (wait := await self._attend(connection)):
                pass
        finally:
            await connection.close()
        return wait

    async def _attend(self, connection: Connection) -> float:
        """Deal with every schedule that is due; 0 when there may be more."""
        wait = math.inf
        for entry in await timetable.read_timetable(connection, self._handlers):
            try:
                wait = min(wait, await _attend_to(connection, entry))
            except DeclarationError as error:  # a zone that this machine does not know, say: the others go on
                logger.warning("a schedule cannot be read", handler=entry.handler, reason=error_line(error))
        return wait


async def _attend_to(connection: Connection, entry: ScheduleEntry) -> float:
    if (wait := entry.wait) > 0:
        return wait
    return ELSEWHERE if await timetable.append_owed(connection, entry.handler) is None else 0.0


def _say(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    reason = None if error is None else error_line(error)
    logger.warning(
        "schedules cannot be read, retrying",
        tries=state.attempt_number,
        reason=reason,
        exc_info=trace_of(error),
    )
