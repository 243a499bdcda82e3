"""How many events a batch may have: as many as take a moment, so that little is done again when a worker is killed."""

from __future__ import annotations

from worker.declare.handler import Handler

# Seconds that a batch is sized to take: shorter where deliveries go on after it, and whoever comes next waits for it.
BATCH_SECONDS = 1.0
FLYING_SECONDS = 0.25
FIRST_SIZE = 100
SMALLEST_SIZE = 10


class BatchSize:
    """The size of one consumer's next batch: `events`."""

    def __init__(self, handler: Handler) -> None:
        self.events = min(handler.batch, FIRST_SIZE)
        self._largest = handler.batch

    def learn(self, events: int, seconds: float, *, flies: bool) -> None:
        """A batch of so many events took so long; the next changes by no more than a factor of two."""
        fitting = events * (FLYING_SECONDS if flies else BATCH_SECONDS) / max(seconds, 0.001)
        size = min(max(fitting, self.events / 2), self.events * 2)
        self.events = max(min(SMALLEST_SIZE, self._largest), min(self._largest, int(size)))
