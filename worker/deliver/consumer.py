"""One cursor's loop: claim, read, deliver, settle, in one transaction per batch; and sleep when there is nothing.

A worker that dies takes its transaction and its lock with it, and any other carries on: no leases, no heartbeats.
"""

from __future__ import annotations

import asyncio
import math
import time

import structlog
from tenacity import AsyncRetrying, RetryCallState, stop_when_event_set, wait_random_exponential

from worker.declare.handler import Handler
from worker.deliver.batch import BatchRunner, Done
from worker.deliver.circuit import Circuit
from worker.deliver.context import Services
from worker.deliver.flights import Flights
from worker.deliver.landing import Landing
from worker.deliver.progress import ConsumerProgress, Turn
from worker.deliver.report import report_batch, report_braked
from worker.deliver.shutdown import Shutdown
from worker.deliver.takeover import TakeOver
from worker.doorbell.bell import Doorbell
from worker.doorbell.waiting import wait_until_set
from worker.errors import DeclaredOtherwise
from worker.log import cursors, reader
from worker.log.failover import Recollection
from worker.postgres.database import Connection
from worker.settings import Settings
from worker.telemetry.error_line import error_line, trace_of
from worker.telemetry.metrics import Metrics

logger = structlog.get_logger("consumer")

# Seconds to wait before asking again for a cursor that another worker has, or that is paused.
ELSEWHERE = 0.5
PAUSED = 2.0
# A woken consumer keeps its bell up for this many seconds, since it often sleeps again by then: that saves taking it
# down and putting it up again.
DOZE = 0.003
# A sleep shorter than RESTLESS hints at busy writers, who should not have to notify each time: the consumer then looks
# again after LINGER instead of sleeping, for as long as it finds BUSY events or more.
RESTLESS = 0.001
LINGER = 0.005
BUSY = 5


class Consumer:
    """Runs one handler's shard until told to stop. Several processes may run the same one: the lock decides."""

    def __init__(
        self, handler: Handler, shard: int, services: Services, doorbell: Doorbell, settings: Settings, metrics: Metrics
    ) -> None:
        self.handler = handler
        self.shard = shard
        self.circuit = Circuit()
        self.progress = ConsumerProgress()
        self._services = services
        self._doorbell = doorbell
        self._metrics = metrics.of(handler.name)
        self._task: asyncio.Task[None] | None = None
        self._restless = False
        self._parked = False
        self._bell = asyncio.Event()
        self._stop = asyncio.Event()
        self._shutdown = Shutdown()
        self._recollection = Recollection(handler.name)
        self._flights = Flights(handler, services, doorbell.listener.worker, self._bell.set)
        self._take_over = TakeOver(handler, shard, services, self._flights)
        self._landing = Landing(handler, shard, services, self._flights, self.circuit, self.progress, self._shutdown)
        self._runner = BatchRunner(
            handler,
            shard,
            services,
            settings,
            self.circuit,
            self.progress,
            self._shutdown,
            self._recollection,
            self._flights,
            lambda: doorbell.listener.present,
        )

    def stop(self) -> None:
        """Claim no more work; let running deliveries finish."""
        self._shutdown.begin()
        self._stop.set()
        self._bell.set()

    def cancel(self) -> None:
        """Cancel what still runs: events of an external handler go back, a transactional batch is rolled back."""
        self._shutdown.cancel()
        self._bell.set()
        if self.handler.transactional and self._task is not None:
            self._task.cancel()

    async def run(self) -> None:
        """Loop until stopped. Errors are logged and retried: the worker outlives its database."""
        self._task = asyncio.current_task()
        retrying = AsyncRetrying(
            wait=wait_random_exponential(multiplier=0.1, max=1),
            stop=stop_when_event_set(self._stop),  # type: ignore[arg-type]  # asks for is_set() alone
            sleep=self._pause,
            before_sleep=self._troubled,
            retry_error_callback=lambda _: None,
        )
        try:
            while not self._stop.is_set():
                await retrying(self._cycle)
            for report in await self._landing.settle_last(self._bell):
                report_batch(report, self.handler, self._metrics)
        finally:
            await self._flights.cancel([*self._flights.running.values()])

    async def _cycle(self) -> None:
        """One turn, and then what it asks for: another, or a pause, or sleep."""
        await self._land()
        if pause := self.circuit.wait():
            return await self._pause(pause)
        turn = await self.turn()
        if turn is Turn.FULL:
            self.progress.turn = turn
            return await self._pause(ELSEWHERE)
        self.progress.moved(turn)
        if turn is Turn.WORKED:
            return None
        if turn in (Turn.ELSEWHERE, Turn.PAUSED, Turn.ASIDE):
            return await self._pause(ELSEWHERE if turn is Turn.ELSEWHERE else PAUSED)
        if self._restless:
            return await self._pause(LINGER)
        return await self._sleep()

    async def turn(self) -> Turn:
        """Do one batch, if there is one and nobody else has the cursor. Raises any error, with all rolled back."""
        await self._land()
        if not self._flights.free:
            return Turn.FULL
        if self._parked:
            await self._take_over.look()
        try:
            done = await self._batch()
        except Exception as error:
            await self._runner.rolled_back(error)
            raise
        if isinstance(done, Turn):
            return done
        self._runner.committed(done.events)
        if done.braked is not None:
            report_braked(self.handler, done.braked)
            return Turn.PAUSED
        if done.report is not None:
            report_batch(done.report, self.handler, self._metrics)
        self._restless = self._restless and done.events >= BUSY
        if done.more:
            return Turn.WORKED
        return Turn.CAUGHT_UP if done.events else Turn.IDLE

    async def _land(self) -> None:
        """Settle what has landed. Raises any error, with all rolled back."""
        if (report := await self._landing.settle()) is not None:
            report_batch(report, self.handler, self._metrics)

    async def _batch(self) -> Done | Turn:
        """The batch, committed; or why there is none to do here."""
        async with self._services.database.batch() as connection:
            try:
                claim = await cursors.claim(connection, self.handler, self.shard)
            except DeclaredOtherwise as error:
                return self._step_aside(str(error))
            if claim is None:
                return Turn.ELSEWHERE
            self.progress.aside = None
            if self.progress.turn is Turn.ELSEWHERE:
                await self._services.suspicion.look(self._flights.worker)
            if connection.timeline != self._recollection.timeline:
                await self._failed_over(connection)
            if claim.paused:
                return Turn.PAUSED
            self.progress.working()
            self._parked = claim.has_parked
            return await self._runner.run(connection, claim)

    async def _failed_over(self, connection: Connection) -> None:
        """Compare what this consumer was given with the log of another timeline, and write down what is gone."""
        before, lost = self._recollection.timeline, await self._recollection.missing(connection)
        async with self._services.database.engine.connection() as own:
            await self._recollection.note(own, lost)
        if lost:
            logger.error(
                "the database failed over and has lost events that were delivered: run `hearken failover`",
                handler=self.handler.name,
                events=len(lost),
                timeline=connection.timeline,
            )
        elif before is not None:
            logger.warning("the database failed over", handler=self.handler.name, timeline=connection.timeline)

    def _step_aside(self, reason: str) -> Turn:
        """Leave the cursor to workers whose declaration it has; say so once."""
        if self.progress.aside != reason:
            logger.warning("stepping aside", handler=self.handler.name, shard=self.shard, reason=reason)
        self.progress.aside = reason
        return Turn.ASIDE

    async def _sleep(self) -> None:
        """Wait for a commit, and deliver what it brings for as long as that takes no time."""
        self._bell.clear()
        async with self._doorbell.asleep([self.handler.topic], self._bell) as sleep:
            async with self._services.database.batches.connection() as connection:
                due = await reader.peek(connection, self.handler, self.shard, self._flights.worker, self._flights.ids)
            if self._flights.landed:
                due = 0.0
            patience = min(sleep.patience, math.inf if due is None else due)
            while await self._slept(patience) and sleep.unbroken and due is None:
                self._bell.clear()
                leaving = asyncio.get_running_loop().call_later(DOZE, sleep.leave)
                turn = await self.turn()
                leaving.cancel()
                if turn is not Turn.FULL:
                    self.progress.moved(turn)
                # What another worker has parked becomes due without a bell: look again.
                if turn not in (Turn.CAUGHT_UP, Turn.IDLE) or self._parked or not sleep.unbroken:
                    return

    async def _slept(self, patience: float) -> bool:
        """Sleep this long, or until the bell rings; True when there may be work."""
        self._metrics.sleeps.inc()
        started = time.monotonic()
        woken = await self._nap(patience)
        if woken:
            self._metrics.wakeups.inc()
        self._restless = woken and time.monotonic() - started < RESTLESS
        return woken and not self._restless and not self._stop.is_set()

    async def _nap(self, seconds: float) -> bool:
        """Wait so long, or until the bell rings (True); not at all once stopped."""
        return not self._stop.is_set() and await wait_until_set(self._bell, seconds)

    async def _pause(self, seconds: float) -> None:
        self._bell.clear()
        if not self._flights.landed:
            await self._nap(seconds)

    def _troubled(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        self.progress.rolled_back(None if error is None else error_line(error))
        tries = state.attempt_number
        if tries & (tries - 1):
            return  # said at the first, second, fourth, eighth, …
        logger.warning(
            "batch rolled back, retrying",
            handler=self.handler.name,
            shard=self.shard,
            tries=tries,
            reason=self.progress.trouble,
            exc_info=trace_of(error),
        )
