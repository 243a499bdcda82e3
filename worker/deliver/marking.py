"""Writing down what is about to be delivered, before it is: after a death whose cause nobody knows (see `suspicion`).

`batch` asks here whether to deliver at once, or to park as running first. Then a death leaves a row that counts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from worker.change import Change, Identity
from worker.deliver.external import Delivered
from worker.deliver.flights import Flight, Flights
from worker.deliver.suspicion import AT_ONCE, WATCHED, Suspicion
from worker.postgres.database import Connection


class Marking:
    """Of one consumer. `active`: whether this batch is written down before it is delivered."""

    def __init__(self, suspicion: Suspicion, flights: Flights) -> None:
        self.active = False
        self._suspicion = suspicion
        self._flights = flights
        self._deaths = 0
        self._left = 0
        self._alone = False
        self._starts: Mapping[int, int] = {}

    def begin(self) -> None:
        """A batch begins."""
        if self._suspicion.deaths > self._deaths:
            self._deaths, self._left = self._suspicion.deaths, WATCHED
        self.active, self._alone, self._starts = self._left > 0, False, {}

    def limit(self, most: int) -> int:
        """How many events the batch may have."""
        return min(most, AT_ONCE, max(1, self._flights.free)) if self.active else most

    async def choose(self, changes: list[Change], starts: Mapping[int, int]) -> list[Change]:
        """Which of these parked events to deliver now: one that is suspected runs alone in its process."""
        self._starts = starts
        suspects = [change for change in changes if change.id in starts]
        if not suspects:
            return changes
        if not self._suspicion.alone.locked():
            await self._suspicion.alone.acquire()
            self.active = self._alone = True
            return suspects[:1]
        keys = {change.identity for change in suspects}
        return [change for change in changes if change.identity not in keys]

    def mark(self, changes: Sequence[Change], claim: Connection) -> Delivered:
        """These as running, none of them started: that is done when the batch is committed."""
        marked: dict[Identity, Flight] = {}
        behind: list[Change] = []
        for change in changes:
            if change.identity in marked:
                behind.append(change)
                continue
            flight = marked[change.identity] = self._flights.new(change, claim)
            flight.starts = self._starts.get(change.id, 0) + 1
            flight.ownership.move()
            if self._alone:
                flight.on_end = self._suspicion.alone.release
        return Delivered(running=[*marked.values()], behind=behind)

    def end(self, events: int) -> None:
        """The batch of so many events is committed; 0: there was nothing to do, so there is nothing to fear."""
        if self.active and not self._alone:
            self._left = max(0, self._left - events) if events else 0

    def release(self, marked: Sequence[Flight]) -> None:
        """The batch has come to nothing, or nothing was marked."""
        if self._alone and not marked:
            self._suspicion.alone.release()
        self._alone = False
