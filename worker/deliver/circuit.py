"""A handler's circuit breaker: pauses it while its destination is down, so no attempts are used up, and probes."""

from __future__ import annotations

import time
from dataclasses import dataclass

import structlog

from worker.deliver.call import Delivery
from worker.outcomes import Unavailable

logger = structlog.get_logger("circuit")

THRESHOLD = 5
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0


@dataclass
class Circuit:
    """Opens after THRESHOLD `Unavailable` in a row (at once on alarm); times are in seconds, on the monotonic clock.

    While it is open nothing is claimed until the probe is due; then one event is tried, and its outcome decides.
    """

    failures: int = 0
    reason: str | None = None
    alarm: bool = False
    probe_at: float = 0.0
    opened_at: float = 0.0
    _pause: float = FIRST_PAUSE

    @property
    def open(self) -> bool:
        return self.reason is not None

    def wait(self) -> float:
        """Seconds until the next probe; 0 when closed."""
        return max(0.0, self.probe_at - time.monotonic()) if self.open else 0.0

    def open_for(self) -> float:
        """Seconds since it opened; 0 when closed."""
        return time.monotonic() - self.opened_at if self.open else 0.0

    def failed(self, reason: str, *, after: float | None = None, alarm: bool = False) -> None:
        """Count one `Unavailable`; opens the circuit, or keeps it open for longer."""
        self.failures += 1
        if not (alarm or self.open or self.failures >= THRESHOLD):
            return
        if self.wait() == 0.0:
            pause = LONGEST_PAUSE if alarm else self._pause
            self.probe_at = time.monotonic() + max(pause, after or 0.0)
            self._pause = min(LONGEST_PAUSE, self._pause * 2)
        if not self.open:
            self.opened_at = time.monotonic()
        self.reason, self.alarm = reason, alarm

    def succeeded(self) -> None:
        """The destination answered: close."""
        self.failures, self.reason, self.alarm, self._pause = 0, None, False, FIRST_PAUSE


def watch_circuit(circuit: Circuit, handler: str, delivery: Delivery) -> None:
    """Let the circuit know of a delivery's end, and say when it opens or closes."""
    if not delivery.attempted:
        return
    outcome, was_open = delivery.outcome, circuit.open
    if isinstance(outcome, Unavailable):
        circuit.failed(outcome.reason, after=outcome.after, alarm=outcome.alarm)
    elif circuit.failures:
        circuit.succeeded()
    if was_open != circuit.open:
        say = logger.error if circuit.open else logger.info
        word = "circuit open, handler waits" if circuit.open else "circuit closed, handler resumes"
        say(word, handler=handler, reason=circuit.reason, alarm=circuit.alarm)
