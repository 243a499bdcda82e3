"""One batch of one claimed cursor: read it, deliver it, settle it. Everything here happens in one transaction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from worker.change import Change, Identity
from worker.declare.handler import Handler, of_engine
from worker.deliver import brake, parked, runs
from worker.deliver.blame import blames_event
from worker.deliver.call import Delivery
from worker.deliver.caution import Caution
from worker.deliver.circuit import Circuit
from worker.deliver.context import Services
from worker.deliver.external import ExternalDelivery
from worker.deliver.parked import Parking
from worker.deliver.progress import ConsumerProgress
from worker.deliver.proof import prove_writable
from worker.deliver.report import Report
from worker.deliver.settle import fold, run_ends, settle
from worker.deliver.shutdown import Shutdown
from worker.deliver.transactional import deliver_batch
from worker.log import cursors, reader, rows
from worker.log.cursors import Claim
from worker.log.failover import Recollection
from worker.log.rows import Readings
from worker.outcomes import Park, Unavailable
from worker.postgres.database import Connection
from worker.settings import Settings
from worker.telemetry.error_line import error_line

logger = structlog.get_logger("batch")

# A batch is sized to take about this many seconds, so that little is done again when a worker is killed.
BATCH_SECONDS = 1.0
FIRST_SIZE = 100
SMALLEST_SIZE = 10
GONE = Park("the event is no longer in the log: skip it, and backfill its key")
NOTHING_INLINE = -1


@dataclass(frozen=True)
class Done:
    """The result of a batch: how many events it had (0: there was nothing to do), and whether there may be more.

    braked  what the brake has seen, when it has stopped the handler
    report  what is to be counted and logged once it is committed
    """

    events: int
    more: bool
    braked: brake.Seen | None = None
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
    ) -> None:
        self._handler = handler
        self._shard = shard
        self._services = services
        self._settings = settings
        self._circuit = circuit
        self._progress = progress
        self._shutdown = shutdown
        self._recollection = recollection
        self._size = min(handler.batch, FIRST_SIZE)
        self._parked_last = False
        self._caution = Caution()
        self._ids: list[int] = []
        self._delivered = False

    async def run(self, connection: Connection, claim: Claim) -> Done:
        """Do one batch, parked events and new ones in turns."""
        self._ids, self._delivered = [], False
        done = None
        if claim.has_parked and not self._parked_last:
            done = await self._run_parked(connection, claim)
        self._parked_last = done is not None
        return done or await self._run_new(connection, claim)

    def committed(self, events: int) -> None:
        """The batch of so many events is committed."""
        if events:
            self._caution.succeeded(self._size)

    def rolled_back(self, error: Exception) -> None:
        """The batch is rolled back, because of this error."""
        self._caution.failed(error, self._ids, delivered=self._delivered)

    def _limit(self) -> int:
        if self._caution.limit is not None:
            return self._caution.limit
        if self._handler.schedule is not None and self._handler.fold:
            return self._handler.batch  # ticks have one key: however many there are, the newest is delivered
        return 1 if self._circuit.open else self._size

    @property
    def _inline(self) -> int:
        return NOTHING_INLINE if self._caution.careful else reader.INLINE

    def _readings(self, *, judge: bool) -> Readings:
        careful = self._caution.careful
        return Readings(self._caution.budget, blames_event if careful else None, judge and careful)

    async def _run_parked(self, connection: Connection, claim: Claim) -> Done | None:
        changes, heavy = await parked.read_due(connection, self._handler, self._shard, self._limit(), self._inline)
        if not changes:
            return None
        self._ids = [change.id for change in changes]
        loaded = await rows.load(connection, self._handler, changes, heavy, self._readings(judge=False))
        gone = {change.id: GONE for change in loaded.changes if not change.op}
        report = await self._deliver(connection, claim, loaded.changes, {**gone, **_refused(loaded.unreadable)})
        await parked.park(connection, self._handler.name, report.settlement.parkings)
        await parked.unpark(connection, self._handler.name, report.settlement.delivered)
        await self._settle_runs(connection, report)
        return Done(len(loaded.changes), more=True, report=report)

    async def _run_new(self, connection: Connection, claim: Claim) -> Done:
        batch = await reader.read_batch(
            connection, self._handler, self._shard, claim.position, self._limit(), self._inline
        )
        if batch is None:
            return Done(0, more=False)
        self._ids = [change.id for change in batch.changes]
        batch, unreadable = await rows.load_batch(connection, self._handler, batch, self._readings(judge=True))
        if seen := await brake.judge_window(connection, self._handler, batch, self._settings.brake_max):
            await brake.stop_handler(connection, self._handler.name, batch, seen)
            return Done(0, more=False, braked=seen)
        changes = fold(batch.changes) if self._handler.fold else batch.changes
        behind = await self._behind_parked(connection, changes) if claim.has_parked and changes else []
        # An event behind a parked one of its key is held; for a level-triggered handler it takes that one's place.
        held = [] if self._handler.fold else [Parking(change, "held", 0) for change in behind]
        waiting = {p.change.id for p in held}
        here = [change for change in changes if change.id not in waiting]
        report = await self._deliver(connection, claim, here, _refused(unreadable))
        report.held = len(held)
        # Only now is anything written: a batch that waits for the outside world has no transaction id.
        if self._handler.fold and behind:
            await parked.supersede(connection, self._handler.name, behind)
        await parked.park(connection, self._handler.name, [*report.settlement.parkings, *held])
        await self._settle_runs(connection, report)
        await cursors.move(connection, claim, batch.then)
        more = batch.then.target is not None or bool(report.settlement.parkings or held)
        return Done(max(1, len(batch.changes)), more=more, report=report)

    async def _behind_parked(self, connection: Connection, changes: Sequence[Change]) -> list[Change]:
        keys = await parked.parked_keys(connection, self._handler.name, changes)
        return [change for change in changes if change.identity in keys]

    async def _deliver(
        self, connection: Connection, claim: Claim, changes: Sequence[Change], refused: Mapping[int, Park]
    ) -> Report:
        """Deliver what is not refused, nor behind a refused one of its key."""
        ready, aside = self._without_refused(changes, refused)
        if ready and self._caution.prove and not self._handler.transactional:
            await prove_writable(self._services.database, claim, changes)
        started = time.monotonic()
        if not self._handler.transactional and not of_engine(self._handler.name):  # what those did is set back with it
            self._recollection.add(ready)
        deliveries = [*aside, *(await self._call(connection, ready) if ready else ())]
        if ready:
            self._resize(len(ready), time.monotonic() - started)
        settlement = settle(self._handler, deliveries, circuit_open=self._circuit.open)
        return Report(deliveries, settlement)

    def _without_refused(
        self, changes: Sequence[Change], refused: Mapping[int, Park]
    ) -> tuple[list[Change], list[Delivery]]:
        ready: list[Change] = []
        aside: list[Delivery] = []
        blocked: set[Identity] = set()
        for change in changes:
            why = refused.get(change.id) or self._caution.refusal(change.id)
            if why is None and change.identity not in blocked:
                ready.append(change)
                continue
            aside.append(Delivery(change, attempted=False) if why is None else Delivery(change, why))
            blocked.add(change.identity)
        return ready, aside

    async def _settle_runs(self, connection: Connection, report: Report) -> None:
        """Record the outcomes of ticks and requests."""
        if not self._handler.is_table:
            await runs.settle_runs(connection, run_ends(report.deliveries, report.settlement), fold=self._handler.fold)

    async def _call(self, connection: Connection, changes: Sequence[Change]) -> list[Delivery]:
        if self._handler.transactional:
            deliveries = await deliver_batch(self._handler, changes, self._services, connection)
            self._watch(deliveries)
            return deliveries
        deadline = asyncio.get_running_loop().time() + self._settings.batch_deadline
        running = ExternalDelivery(self._handler, changes, self._services, connection, deadline, self._shutdown)
        probing = self._circuit.open
        deliveries = []
        async for ended in running:
            deliveries += ended
            self._watch(ended)
            if self._circuit.open and not probing:
                running.stop()
        return deliveries

    def _watch(self, ended: Sequence[Delivery]) -> None:
        self._progress.working()
        self._delivered = self._delivered or any(delivery.attempted for delivery in ended)
        for delivery in ended:
            self._watch_circuit(delivery)

    def _watch_circuit(self, delivery: Delivery) -> None:
        if not delivery.attempted:
            return
        outcome = delivery.outcome
        was_open = self._circuit.open
        if isinstance(outcome, Unavailable):
            self._circuit.failed(outcome.reason, after=outcome.after, alarm=outcome.alarm)
        elif self._circuit.failures:
            self._circuit.succeeded()
        if was_open != self._circuit.open:
            say = logger.error if self._circuit.open else logger.info
            word = "circuit open, handler waits" if self._circuit.open else "circuit closed, handler resumes"
            say(word, handler=self._handler.name, reason=self._circuit.reason, alarm=self._circuit.alarm)

    def _resize(self, events: int, seconds: float) -> None:
        """Aim at batches of a second, changing by no more than a factor of two at a time."""
        fitting = events * BATCH_SECONDS / max(seconds, 0.001)
        size = min(max(fitting, self._size / 2), self._size * 2)
        self._size = max(min(SMALLEST_SIZE, self._handler.batch), min(self._handler.batch, int(size)))


def _refused(unreadable: Mapping[int, Exception]) -> dict[int, Park]:
    return {event_id: Park(f"its rows cannot be read: {error_line(error)}") for event_id, error in unreadable.items()}
