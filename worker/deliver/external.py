"""Delivering one batch to an external handler: keys side by side, the events of one key in order.

It ends when everything has, or a short patience after the last start: what runs then goes on as a flight.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from worker.change import Change, Identity
from worker.deliver.call import Delivery
from worker.deliver.flights import Flight, Flights
from worker.deliver.liveness import SIGN_OF_LIFE, give_sign
from worker.deliver.shutdown import Shutdown
from worker.doorbell.waiting import wait_until_set
from worker.postgres.database import Connection

# Seconds in which a batch starts deliveries, and waits for those that run after the last start. When more events are
# waiting it hardly waits: whoever runs goes on beside the next batch.
STARTING = 0.5
PATIENCE = 0.1
IMPATIENCE = 0.005


@dataclass
class Delivered:
    """How a batch's deliveries stand when it ends.

    ended    in the order in which they ended; not attempted are those behind a failed one of their key
    running  go on after the batch
    behind   wait for a running one of their key
    left     not started, in order: to be read again
    """

    ended: list[Delivery] = field(default_factory=list)
    running: list[Flight] = field(default_factory=list)
    behind: list[Change] = field(default_factory=list)
    left: list[Change] = field(default_factory=list)


class ExternalDelivery:
    """The deliveries of one batch.

    claim     the batch's connection
    flies     says whether deliveries may go on after the batch; until then it waits for all that it has started
    deadline  seconds in which deliveries may be started
    heard     called with each delivery that ends; says whether another may be started
    """

    def __init__(
        self,
        flights: Flights,
        changes: Sequence[Change],
        claim: Connection,
        shutdown: Shutdown,
        heard: Callable[[Delivery], bool],
        *,
        flies: Callable[[], bool],
        deadline: float,
    ) -> None:
        self._flights = flights
        self._queue = deque(changes)
        self._claim = claim
        self._shutdown = shutdown
        self._heard = heard
        self._flies = flies
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()
        self._last_start = self._started_at
        self._deadline = deadline
        self._until = self._time(flies=flies())
        self._stopped = False
        self._running: dict[Identity, Flight] = {}
        self._waiting: dict[Identity, deque[Change]] = {}
        self._ready: deque[Change] = deque()
        self._failed: set[Identity] = set()
        self._ended: list[Delivery] = []
        self._news = asyncio.Event()

    async def run(self, *, more: bool) -> Delivered:
        """Deliver; `more` says that further events are waiting. Raises what the claim's connection raises."""
        self._flights.on_ended, self._flights.supply = self._end, self._next
        try:
            with self._shutdown.calls_on_cancel(self._news.set):
                while self._flights.free and (flight := self._next()):
                    self._flights.start(flight)
                await self._wait(IMPATIENCE if more else PATIENCE)
            if self._shutdown.cancelling:
                await self._flights.cancel(self._running.values())
        except BaseException:
            await self._flights.cancel(self._running.values())
            self._flights.forget(self._running.values())
            raise
        finally:
            self._flights.on_ended, self._flights.supply = _ignore, _nothing
        return self._result()

    async def _wait(self, patience: float) -> None:
        """Until nothing runs, or it is time to leave."""
        since = self._started_at
        while self._running and not self._shutdown.cancelling:
            self._news.clear()
            now = self._loop.time()
            flies = self._flies()
            self._until = self._time(flies=flies)
            if flies and now >= (until := self._leave_at(patience)):
                return
            await wait_until_set(self._news, min(SIGN_OF_LIFE, until - now) if flies else SIGN_OF_LIFE)
            if self._loop.time() - since >= SIGN_OF_LIFE:
                since = self._loop.time()
                await give_sign(self._claim)

    def _leave_at(self, patience: float) -> float:
        if self._may_start() and (self._queue or self._ready):
            return self._until
        return self._last_start + patience

    def _may_start(self) -> bool:
        return not (self._stopped or self._shutdown.begun or self._loop.time() >= self._until)

    def _time(self, *, flies: bool) -> float:
        """When to start nothing more."""
        return self._started_at + (min(STARTING, self._deadline) if flies else self._deadline)

    def _next(self) -> Flight | None:
        """The next delivery to start: an event whose key is free, in order."""
        if not self._may_start():
            return None
        if self._ready:
            return self._begin(self._ready.popleft())
        while self._queue:
            change = self._queue.popleft()
            if (key := change.identity) in self._running:
                self._waiting.setdefault(key, deque()).append(change)
            elif key in self._failed:
                self._ended.append(Delivery(change, attempted=False))
            else:
                return self._begin(change)
        self._news.set()
        return None

    def _begin(self, change: Change) -> Flight:
        self._last_start = self._loop.time()
        flight = self._flights.new(change, self._claim)
        self._running[change.identity] = flight
        return flight

    def _end(self, flight: Flight) -> None:
        """A delivery of this batch has ended: its key is free again, or what waits for it is put aside."""
        delivery, key = flight.ended, flight.change.identity
        if self._running.get(key) is not flight:
            return
        del self._running[key]
        self._ended.append(delivery)
        self._stopped = not self._heard(delivery) or self._stopped
        waiting = self._waiting.pop(key, None)
        if not delivery.attempted or not (delivery.outcome is None or delivery.outcome.settles):
            self._failed.add(key)
            self._ended += [Delivery(change, attempted=False) for change in waiting or ()]
        elif waiting:
            self._ready.append(waiting.popleft())
            if waiting:
                self._waiting[key] = waiting
        if not self._running:
            self._news.set()

    def _result(self) -> Delivered:
        running = [*self._running.values()]
        aside = [Delivery(change, attempted=False) for change in self._ready]
        if self._shutdown.cancelling:
            self._flights.forget(running)
            aside += [Delivery(flight.change, attempted=False) for flight in running]
            running = []
        for flight in running:
            flight.ownership.move()
        behind = [change for waiting in self._waiting.values() for change in waiting]
        return Delivered([*self._ended, *aside], running, behind, [*self._queue])


def _ignore(_flight: Flight) -> None:
    pass


def _nothing() -> Flight | None:
    return None
