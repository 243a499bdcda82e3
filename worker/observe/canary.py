"""The canary's sending end: sends a beat now and then, checks whether it came back, and reports it.

It uses the connection that `health` looks at the database with, so it takes none from the handlers. Nothing is sent
while the database is unreachable, nor while a beat waits in the log for a person: so nothing piles up.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from typing import Any, LiteralString

import structlog
from psycopg import Error, OperationalError, errors

from worker.deliver.consumer import Consumer
from worker.doorbell.waiting import wait_until_set
from worker.errors import CheckFailed
from worker.observe.silence import Silence, find_silence
from worker.postgres.database import Connection
from worker.postgres.own_connection import Inspection
from worker.settings import Settings
from worker.telemetry.error_line import error_line, trace_of
from worker.telemetry.metrics import Metrics

logger = structlog.get_logger("canary")

# Seconds after which a beat is looked for, and at most until it is looked for again.
FIRST_LOOK = 1.0
LONGEST_LOOK = 5.0
# Seconds after which one that has not come back is reported.
RETURN_WITHIN = 10.0
# Seconds until a beat that could not be sent is sent again, at most.
AGAIN = 5.0
# Operational errors to psycopg, but the server is reachable.
HELD_UP = (errors.QueryCanceled, errors.LockNotAvailable)
# Seconds that removing our row at the end may take.
FAREWELL = 1.0

SEND: LiteralString = """
with gone as (delete from hearken.canary where sent_at < now() - interval '1 day' and worker <> %(worker)s)
insert into hearken.canary as c (worker, sent, sent_at) values (%(worker)s, 1, clock_timestamp())
on conflict (worker) do update set sent = c.sent + 1, sent_at = clock_timestamp()
returning sent, pg_current_xact_id()::text as tx
"""
LOOK: LiteralString = """
select returned >= sent as returned, extract(epoch from returned_at - sent_at)::float8 as seconds
from hearken.canary where worker = %s
"""
LEAVE: LiteralString = "delete from hearken.canary where worker = %s"


@dataclass(frozen=True)
class Beat:
    """The newest one, sent in the transaction `tx`; `waiting_since` the first that has not come back (monotonic)."""

    tx: str
    waiting_since: float


class Canary:
    """One worker's canary. `run()` until `stop()`; `check()` is for /readyz."""

    def __init__(
        self, name: str, consumer: Consumer, inspection: Inspection, settings: Settings, metrics: Metrics
    ) -> None:
        self.consumer = consumer
        self.silence: Silence | None = None
        self._worker = f"{name}/{secrets.token_hex(4)}"
        self._inspection = inspection
        self._interval = settings.canary_seconds
        self._stalled_after = settings.stalled_after
        self._metrics = metrics
        self._beat: Beat | None = None
        self._trouble: str | None = None
        self._seconds: float | None = None
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Send nothing more."""
        self._stop.set()
        self.consumer.stop()

    async def check(self) -> str:
        """What is fine. Raises CheckFailed with the part that is silent."""
        if self.silence is not None:
            raise CheckFailed(str(self.silence))
        if self._trouble is not None:
            raise CheckFailed(f"a beat cannot be sent: {self._trouble}")
        if self._seconds is None:
            return f"no beat has come back yet; one is sent every {self._interval:g} s"
        return f"the last beat came back in {self._seconds * 1000:.1f} ms"

    async def run(self) -> None:
        """Beat until stopped, for the first time after the interval. Never raises."""
        if await wait_until_set(self._stop, self._interval):
            return
        consuming = asyncio.create_task(self.consumer.run())
        try:
            pause = 0.0
            while not await wait_until_set(self._stop, pause):
                pause = await self._turn()
        finally:
            self.consumer.stop()
            await asyncio.wait([consuming])
            await self._leave()

    async def _turn(self) -> float:
        """Send and look; returns the seconds until the next time."""
        try:
            if self.silence is None or self.silence.part != "consumer":
                self._beat = await self._send()
            await self._wait_for_it()
        except Exception as error:
            self._failed(error)
            return min(self._interval, AGAIN)
        return 0.0

    def _failed(self, error: Exception) -> None:
        """An unreachable database has a check of its own; anything else is reported here."""
        away = isinstance(error, OperationalError | OSError) and not isinstance(error, HELD_UP)
        self._trouble = None if away else error_line(error)
        logger.warning("canary beat not sent, retrying", reason=error_line(error), exc_info=trace_of(error))

    async def _send(self) -> Beat:
        async with self._inspection.connection() as connection:
            (row,) = await (await connection.execute(SEND, {"worker": self._worker})).fetchall()
        return Beat(row["tx"], time.monotonic() if self._beat is None else self._beat.waiting_since)

    async def _wait_for_it(self) -> None:
        """Look for the beat until the next one is due. When it is back, sleep until then."""
        due = time.monotonic() + self._interval
        pause = min(FIRST_LOOK, self._interval / 4)
        while (left := due - time.monotonic()) > 0:
            if await wait_until_set(self._stop, min(pause, left)):
                return
            if await self._is_back():
                await wait_until_set(self._stop, due - time.monotonic())
                return
            pause = min(2 * pause, LONGEST_LOOK)

    async def _is_back(self) -> bool:
        async with self._inspection.connection() as connection:
            rows = await (await connection.execute(LOOK, (self._worker,))).fetchall()
            self._trouble = None
            if rows and not rows[0]["returned"]:
                await self._judge(connection)
                return False
        if rows:  # else somebody has emptied the table: the next beat puts the row there again
            self._came_back(rows[0])
        return True

    def _came_back(self, row: dict[str, Any]) -> None:
        self._beat = None
        self._seconds = max(0.0, row["seconds"])
        self._metrics.canary.observe(self._seconds)
        if self.silence is not None:
            logger.info("canary beats come back again", was=str(self.silence))
        self._be(None)

    async def _judge(self, connection: Connection) -> None:
        """Say which part is silent, once the beat has had its time."""
        if self._beat is None:
            return
        waiting = time.monotonic() - self._beat.waiting_since
        if waiting < min(RETURN_WITHIN, self._interval / 2):
            return
        silence = await find_silence(connection, self._worker, self._beat.tx)
        if silence.certain or waiting > self._stalled_after:
            if silence != self.silence:
                logger.error("a canary beat did not come back", silent=silence.part, reason=silence.text)
            self._be(silence)

    def _be(self, silence: Silence | None) -> None:
        self.silence = silence
        for part in ("trigger", "doorbell", "consumer"):
            self._metrics.canary_silent.labels(part).set(silence is not None and silence.part == part)

    async def _leave(self) -> None:
        """Remove our row. Whoever is left removes it if this cannot be done."""
        try:
            async with asyncio.timeout(FAREWELL), self._inspection.connection() as connection:
                await connection.execute(LEAVE, (self._worker,))
        except (Error, OSError) as error:  # TimeoutError is one
            logger.info("canary row was not removed", reason=error_line(error))
