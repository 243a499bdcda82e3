"""The deliveries of one consumer's external handler that are under way, beside its batches.

`external` starts them for a batch. One that its batch does not wait for is parked as running, and lands later: then
`batch` settles it in a transaction of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

from worker.change import Change
from worker.declare.handler import Handler
from worker.deliver import runs
from worker.deliver.call import Delivery, attempt, cancelled_itself, delivered
from worker.deliver.context import Context, Services
from worker.deliver.ownership import Ownership
from worker.postgres.database import Connection
from worker.telemetry.logs import current

# Seconds that cancelled handlers get to clean up.
CANCEL_GRACE = 1.0


class Flight:
    """One delivery under way.

    delivery   how it ended; cancelled: whether we have ended it
    starts     how often it has been begun with its row in place, see `suspicion`
    on_end     called when it ends, however
    """

    __slots__ = ("cancelled", "change", "delivery", "on_end", "ownership", "starts", "task")

    def __init__(self, change: Change, ownership: Ownership) -> None:
        self.change = change
        self.ownership = ownership
        self.cancelled = False
        self.starts = 0
        self.on_end: Callable[[], None] | None = None
        self.delivery: Delivery | None = None
        self.task: asyncio.Task[None] | None = None

    def end(self) -> None:
        """It no longer runs here."""
        if (on_end := self.on_end) is not None:
            self.on_end = None
            on_end()

    @property
    def ended(self) -> Delivery:
        """How it ended; not attempted, so to be done again, while it has not."""
        return self.delivery or Delivery(self.change, attempted=False)


class Flights:
    """At most `concurrency` deliveries at a time.

    landed    those that ended after their batch, to be settled
    on_ended  called for each that ends within its batch
    supply    asked for the next one whenever a place is free
    """

    def __init__(self, handler: Handler, services: Services, worker: int, on_landed: Callable[[], None]) -> None:
        self.worker = worker
        self.running: dict[int, Flight] = {}
        self.landed: list[Flight] = []
        self.on_ended: Callable[[Flight], None] = lambda _: None
        self.supply: Callable[[], Flight | None] = lambda: None
        self._handler = handler
        self._call: Callable[..., Any] = handler.function if handler.is_table else self._run
        self._services = services
        self._on_landed = on_landed

    @property
    def free(self) -> int:
        """How many more may be started."""
        return self._handler.concurrency - len(self.running)

    @property
    def ids(self) -> list[int]:
        """The events that are under way here, or have landed."""
        return [*self.running, *(flight.change.id for flight in self.landed)]

    def new(self, change: Change, claim: Connection | None) -> Flight:
        """The delivery of this event in the batch on that connection; None: its row says that it is running here."""
        flight = Flight(change, Ownership(self._handler.name, change.id, self.worker, claim))
        self.running[change.id] = flight
        return flight

    def start(self, flight: Flight) -> None:
        """Take a place for it; when it ends, the place goes to what is supplied next."""
        flight.task = asyncio.create_task(self._use_place(flight))

    async def cancel(self, flights: Iterable[Flight]) -> None:
        """End these, and wait a moment for their clean-up."""
        tasks = []
        for flight in flights:
            if flight.task is not None and flight.delivery is None:
                flight.cancelled = True
                flight.task.cancel()
                tasks.append(flight.task)
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_GRACE)

    def forget(self, flights: Iterable[Flight]) -> None:
        """These no longer count, whether they have ended or not."""
        for flight in flights:
            if self.running.get(flight.change.id) is flight:
                del self.running[flight.change.id]
            if flight in self.landed:
                self.landed.remove(flight)
            flight.end()

    def land(self, flights: Iterable[Flight]) -> None:
        """These take no place: they are delivered when they are settled."""
        for flight in flights:
            self.running.pop(flight.change.id, None)
            self.landed.append(flight)

    async def drop(self, event_ids: Iterable[int]) -> None:
        """End what still runs here of these events, which were taken over and have come back."""
        lost = [self.running[event_id] for event_id in event_ids if event_id in self.running]
        if lost:
            await self.cancel(lost)
            self.forget(lost)

    async def _use_place(self, flight: Flight) -> None:
        place = asyncio.current_task()
        following: Flight | None = flight
        while following is not None:
            following.task = place
            await self._deliver(following)
            following = None if following.cancelled else self.supply()

    async def _deliver(self, flight: Flight) -> None:
        change = flight.change
        current.set((self._handler.name, change.id, change.key, change.attempt))
        context = Context(self._handler.name, self._services, ownership=flight.ownership)
        started_at = time.time()
        try:
            ended = await attempt(self._handler, self._call, change, context)
            flight.delivery = delivered(change, ended, started_at)
        except asyncio.CancelledError as error:
            if not flight.cancelled:
                flight.delivery = delivered(change, cancelled_itself(error), started_at)
        finally:
            self._end(flight)

    async def _run(self, change: Change, context: Context) -> Any:
        await runs.begin_run(self._services.database, change)
        return await self._handler.function(change, context)

    def _end(self, flight: Flight) -> None:
        if self.running.get(flight.change.id) is flight:
            del self.running[flight.change.id]
        flight.end()
        if flight.ownership.leaving:
            self.landed.append(flight)
            self._on_landed()
        else:
            self.on_ended(flight)
