"""One batch of one claimed cursor: read it, deliver it, settle it. Everything here happens in one transaction."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from worker.change import Change
from worker.declare.handler import Handler, of_engine
from worker.deliver import brake, parked, runs
from worker.deliver.call import Delivery
from worker.deliver.caution import Caution
from worker.deliver.circuit import Circuit, watch_circuit
from worker.deliver.context import Services
from worker.deliver.external import Delivered, ExternalDelivery
from worker.deliver.flights import Flight, Flights
from worker.deliver.marking import Marking
from worker.deliver.parked import Parking
from worker.deliver.progress import ConsumerProgress
from worker.deliver.proof import prove_writable
from worker.deliver.refusals import refused, without_refused
from worker.deliver.report import Report
from worker.deliver.settle import fold, run_ends, settle
from worker.deliver.shutdown import Shutdown
from worker.deliver.sizing import BatchSize
from worker.deliver.stretch import Seen
from worker.deliver.transactional import deliver_batch
from worker.log import cursors, reader, rows
from worker.log.cursors import Claim
from worker.log.failover import Recollection
from worker.outcomes import Park
from worker.postgres.database import Connection
from worker.settings import Settings

GONE = Park("the event is no longer in the log: skip it, and backfill its key")


@dataclass(frozen=True)
class Done:
    """The result of a batch: how many events it had (0: there was nothing to do), and whether there may be more.

    braked  what the brake has seen, when it has stopped the handler
    report  what is to be counted and logged once it is committed
    """

    events: int
    more: bool
    braked: Seen | None = None
    report: Report | None = None


class BatchRunner:
    """Runs batches of one handler's shard."""

    def __init__(
        self,
        handler: Handler,
        shard: int,
        services: Services,
        settings: Settings,
        circuit: Circuit,
        progress: ConsumerProgress,
        shutdown: Shutdown,
        recollection: Recollection,
        flights: Flights,
        present: Callable[[], bool],
    ) -> None:
        self._handler = handler
        self._shard = shard
        self._services = services
        self._settings = settings
        self._circuit = circuit
        self._progress = progress
        self._shutdown = shutdown
        self._recollection = recollection
        self._flights = flights
        self._present = present
        self._marking = Marking(services.suspicion, flights)
        self._leaving: list[Flight] = []
        self._size = BatchSize(handler)
        self._parked_last = False
        self._caution = Caution()
        self._ids: list[int] = []
        self._delivered = False
        self._probing = False

    async def run(self, connection: Connection, claim: Claim) -> Done:
        """Do one batch, parked events and new ones in turns."""
        self._ids, self._delivered, self._leaving = [], False, []
        self._marking.begin()
        done = None
        if claim.has_parked and not self._parked_last:
            done = await self._run_parked(connection, claim)
        self._parked_last = done is not None
        return done or await self._run_new(connection, claim)

    def committed(self, events: int) -> None:
        """The batch of so many events is committed: what was only marked may begin."""
        for flight in self._leaving:
            flight.ownership.moved()
        marked = [flight for flight in self._leaving if flight.task is None]
        self._marking.end(events)
        self._marking.release(marked)
        if self._handler.transactional:
            self._flights.land(marked)
        else:
            for flight in marked:
                self._flights.start(flight)
        if events:
            self._caution.succeeded(self._size.events)

    async def rolled_back(self, error: Exception) -> None:
        """The batch is rolled back, because of this error: what it has started ends."""
        self._caution.failed(error, self._ids, delivered=self._delivered)
        await self._flights.cancel(self._leaving)
        self._flights.forget(self._leaving)
        self._marking.release(self._leaving)

    def _limit(self) -> int:
        return self._marking.limit(self._most())

    def _most(self) -> int:
        if self._caution.limit is not None:
            return self._caution.limit
        if self._handler.schedule is not None and self._handler.fold:
            return self._handler.batch  # ticks have one key: however many there are, the newest is delivered
        return 1 if self._circuit.open else self._size.events

    async def _run_parked(self, connection: Connection, claim: Claim) -> Done | None:
        changes, heavy, starts = await parked.read_due(
            connection, self._handler, self._shard, self._limit(), self._caution.inline
        )
        changes = await self._marking.choose(changes, starts)
        if not changes:
            return None
        self._ids = [change.id for change in changes]
        await self._flights.drop(self._ids)
        loaded = await rows.load(connection, self._handler, changes, heavy, self._caution.readings(judge=False))
        gone = {change.id: GONE for change in loaded.changes if not change.op}
        newest = fold(loaded.changes) if self._handler.fold else loaded.changes
        delivered, report = await self._deliver(
            connection, claim, newest, {**gone, **refused(loaded.unreadable)}, more=len(changes) >= self._limit()
        )
        await self._park(connection, delivered, report.settlement.parkings)
        if self._handler.fold and newest:
            await parked.supersede(connection, self._handler.name, newest)
        await parked.unpark(connection, self._handler.name, report.settlement.delivered)
        await self._settle_runs(connection, report)
        return Done(len(loaded.changes) - len(delivered.left), more=True, report=report)

    async def _run_new(self, connection: Connection, claim: Claim) -> Done:
        batch = await reader.read_batch(
            connection, self._handler, self._shard, claim, self._limit(), self._caution.inline
        )
        if batch is None:
            return Done(0, more=False)
        self._ids = [change.id for change in batch.changes]
        batch, unreadable = await rows.load_batch(connection, self._handler, batch, self._caution.readings(judge=True))
        seen, batch = await brake.judge(connection, self._handler, batch, self._settings.brake_max)
        if seen is not None:
            await brake.stop_handler(connection, self._handler.name, batch, seen)
            return Done(0, more=False, braked=seen)
        changes = fold(batch.changes) if self._handler.fold else batch.changes
        held, replacing = (
            await parked.behind_parked(connection, self._handler, changes) if claim.has_parked and changes else ([], [])
        )
        waiting = {change.id for change in held}
        here = [change for change in changes if change.id not in waiting]
        delivered, report = await self._deliver(
            connection, claim, here, refused(unreadable), more=batch.then.target is not None
        )
        # What is not started is read again, and with it whatever comes after it.
        end = delivered.left[0].id if delivered.left else math.inf
        behind = [change for change in [*held, *delivered.behind] if change.id < end]
        parkings = [p for p in report.settlement.parkings if p.change.id < end]
        report.held = len(behind)
        # Only now is anything written: a batch that waits for the outside world has no transaction id.
        if superseding := [change for change in replacing if change.id < end]:
            await parked.supersede(connection, self._handler.name, superseding)
        waits = [Parking(change, "held", 0) for change in behind]
        await self._park(connection, delivered, [*parkings, *waits])
        await self._settle_runs(connection, report)
        then = batch.then if end == math.inf else replace(batch.within, last_id=int(end) - 1)
        await cursors.move(connection, claim, then)
        more = then.target is not None or not batch.changes or bool(parkings or behind)
        return Done(max(1, len(batch.changes)), more=more, report=report)

    async def _park(self, connection: Connection, delivered: Delivered, parkings: Sequence[Parking]) -> None:
        running = [Parking(f.change, "running", f.change.attempt - 1, starts=f.starts) for f in delivered.running]
        await parked.park(connection, self._handler.name, [*parkings, *running], self._flights.worker)

    async def _deliver(
        self,
        connection: Connection,
        claim: Claim,
        changes: Sequence[Change],
        refused: Mapping[int, Park],
        *,
        more: bool,
    ) -> tuple[Delivered, Report]:
        """Deliver what is not refused, nor behind a refused one of its key."""
        ready, aside = without_refused(changes, refused, self._caution.refusal)
        if ready and self._caution.prove and not self._handler.transactional:
            await prove_writable(self._services.database, claim, changes)
        started = time.monotonic()
        if not self._handler.transactional and not of_engine(self._handler.name):  # what those did is set back with it
            self._recollection.add(ready)
        delivered = await self._call(connection, ready, more=more) if ready else Delivered()
        if ready and not self._marking.active:
            seconds, flies = time.monotonic() - started, not self._handler.transactional and self._present()
            self._size.learn(len(ready) - len(delivered.left), seconds, flies=flies)
        end = delivered.left[0].id if delivered.left else math.inf
        deliveries = [*(one for one in aside if one.change.id < end), *delivered.ended]
        self._leaving = delivered.running
        return delivered, Report(deliveries, settle(self._handler, deliveries, circuit_open=self._circuit.open))

    async def _settle_runs(self, connection: Connection, report: Report) -> None:
        """Record the outcomes of ticks and requests."""
        if not self._handler.is_table:
            await runs.settle_runs(connection, run_ends(report.deliveries, report.settlement), fold=self._handler.fold)

    async def _call(self, connection: Connection, changes: Sequence[Change], *, more: bool) -> Delivered:
        if self._marking.active:
            return self._marking.mark(changes, connection)
        if self._handler.transactional:
            deliveries = await deliver_batch(self._handler, changes, self._services, connection)
            for delivery in deliveries:
                self._watch(delivery)
            return Delivered(deliveries)
        self._probing = self._circuit.open
        flies, deadline = self._present, self._settings.batch_deadline
        running = ExternalDelivery(
            self._flights, changes, connection, self._shutdown, self._hear, flies=flies, deadline=deadline
        )
        return await running.run(more=more)

    def _hear(self, delivery: Delivery) -> bool:
        """One has ended; returns whether to start more."""
        self._watch(delivery)
        return self._probing or not self._circuit.open

    def _watch(self, delivery: Delivery) -> None:
        self._progress.working()
        self._delivered = self._delivered or delivery.attempted
        watch_circuit(self._circuit, self._handler.name, delivery)
