"""Settling flights that have landed: deliveries that ended after their batch. For `consumer`, between two batches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from worker.declare.handler import Handler
from worker.deliver import parked, runs
from worker.deliver.circuit import Circuit, watch_circuit
from worker.deliver.context import Services
from worker.deliver.flights import Flight, Flights
from worker.deliver.progress import ConsumerProgress
from worker.deliver.report import Report
from worker.deliver.running import still_ours
from worker.deliver.settle import run_ends, settle
from worker.deliver.shutdown import Shutdown
from worker.deliver.transactional import deliver_batch
from worker.doorbell.waiting import wait_until_set
from worker.log import cursors
from worker.postgres.database import Connection
from worker.telemetry.error_line import error_line

logger = structlog.get_logger("batch")

# Seconds until what could not be settled is tried again, when the worker is about to end.
AGAIN = 0.5


class Landing:
    """Of one consumer."""

    def __init__(
        self,
        handler: Handler,
        shard: int,
        services: Services,
        flights: Flights,
        circuit: Circuit,
        progress: ConsumerProgress,
        shutdown: Shutdown,
    ) -> None:
        self._handler = handler
        self._shard = shard
        self._services = services
        self._flights = flights
        self._circuit = circuit
        self._progress = progress
        self._shutdown = shutdown

    async def settle(self) -> Report | None:
        """Settle what has landed, whoever has the cursor; None: nothing has. Raises any error, with all rolled back."""
        if not (landed := [*self._flights.landed]):
            return None
        async with self._services.database.batch() as connection:
            await cursors.hold(connection, self._handler, self._shard)
            report = await self._settle(connection, landed)
        self._flights.forget(landed)
        return report

    async def settle_last(self, bell: asyncio.Event) -> list[Report]:
        """Wait for what is still under way, and settle it; once the shutdown cancels, what runs is ended."""
        reports = []
        while self._flights.running or self._flights.landed:
            bell.clear()
            try:
                if (report := await self.settle()) is not None:
                    reports.append(report)
            except Exception as error:
                logger.warning("cannot settle what has ended", handler=self._handler.name, reason=error_line(error))
                await wait_until_set(bell, AGAIN)
                continue
            running = [*self._flights.running.values()]
            if self._shutdown.cancelling:
                await self._flights.cancel(running)
                self._flights.land([*self._flights.running.values()])  # those that go on all the same
            elif running and not self._flights.landed:
                await bell.wait()
        return reports

    async def _settle(self, connection: Connection, landed: Sequence[Flight]) -> Report:
        handler = self._handler
        ours = await self._still_ours(connection, landed)
        if handler.transactional and ours and not self._shutdown.begun:  # these were only marked
            deliveries = await deliver_batch(handler, [flight.change for flight in ours], self._services, connection)
            for flight, delivery in zip(ours, deliveries, strict=True):
                flight.delivery = delivery
        ended = [flight.ended for flight in ours]
        for delivery in ended:
            self._progress.working()
            watch_circuit(self._circuit, handler.name, delivery)
        settlement = settle(handler, ended, circuit_open=self._circuit.open)
        await parked.park(connection, handler.name, settlement.parkings)
        await parked.unpark(connection, handler.name, settlement.delivered)
        if not handler.is_table:
            await runs.settle_runs(connection, run_ends(ended, settlement), fold=handler.fold)
        return Report(ended, settlement)

    async def _still_ours(self, connection: Connection, landed: Sequence[Flight]) -> list[Flight]:
        """Those whose rows say so; they are locked until the transaction ends."""
        changes = [flight.change for flight in landed]
        ours = await still_ours(connection, self._handler.name, self._flights.worker, changes)
        for change in changes:
            if change.id not in ours:
                logger.warning(
                    "taken over by another worker while it ran here: its outcome is not kept",
                    handler=self._handler.name,
                    event_id=change.id,
                    key=change.key,
                )
        return [flight for flight in landed if flight.change.id in ours]
