"""From the outcome of each event to what is written: parked, held, superseded, dead, or nothing.

Pure, so that the rules can be read and tested in one place; `consumer` carries them out in the batch's transaction.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from worker.change import Change, Identity
from worker.declare.handler import Handler
from worker.deliver.call import Delivery
from worker.deliver.parked import Parking
from worker.deliver.runs import RunEnd
from worker.outcomes import Outcome, Park, Retry, Skip, Snooze, Unavailable

FIRST_DELAY = 2.0
LONGEST_DELAY = 3600.0
MOST_DOUBLINGS = 16  # by then the delay is at its longest, and some thousand doublings on no float holds it


def backoff(failures: int) -> float:
    """Seconds to wait after this many failed attempts: doubling from two, up to an hour, ± a quarter."""
    doublings = min(failures - 1, MOST_DOUBLINGS)
    delay: float = min(LONGEST_DELAY, FIRST_DELAY * 2.0**doublings)
    return delay * random.uniform(0.75, 1.25)  # noqa: S311  # jitter, not a secret


@dataclass
class Settlement:
    """What a batch leaves to write: `delivered` are done with, `parkings` are parked."""

    delivered: list[Change] = field(default_factory=list)
    skipped: list[Delivery] = field(default_factory=list)
    parkings: list[Parking] = field(default_factory=list)


def fold(changes: Sequence[Change]) -> list[Change]:
    """Only the newest change of each key, in order: what a level-triggered handler needs."""
    newest = {change.identity: change for change in changes}
    return sorted(newest.values(), key=lambda change: change.id)


def settle(handler: Handler, deliveries: Iterable[Delivery], *, circuit_open: bool) -> Settlement:
    """Decide for each event, in order of the log. With the circuit open no attempt is used."""
    settlement = Settlement()
    blocked: set[Identity] = set()
    for delivery in sorted(deliveries, key=lambda d: d.change.id):
        change, outcome = delivery.change, delivery.outcome
        if delivery.attempted and (outcome is None or outcome.settles):
            settlement.delivered.append(change)
            if isinstance(outcome, Skip):
                settlement.skipped.append(delivery)
            continue
        key = change.identity
        settlement.parkings.append(_parking(handler, delivery, held=key in blocked, circuit_open=circuit_open))
        blocked.add(key)
    return settlement


def _parking(handler: Handler, delivery: Delivery, *, held: bool, circuit_open: bool) -> Parking:
    change, outcome = delivery.change, delivery.outcome
    failures = change.attempt - 1
    if held:
        return Parking(change, "held", failures)
    if not delivery.attempted or outcome is None:
        return Parking(change, "due", failures, reason="not started before the deadline")
    if isinstance(outcome, Snooze):
        return Parking(change, "due", failures, outcome.seconds, outcome.reason)
    if isinstance(outcome, Park):
        return Parking(change, "dead", failures + 1, reason=outcome.reason, error=delivery.error)
    if isinstance(outcome, Unavailable) and circuit_open:
        return Parking(change, "due", failures, outcome.after or 0.0, outcome.reason)
    return _failed(handler, delivery, outcome, failures + 1)


def _failed(handler: Handler, delivery: Delivery, outcome: Outcome, failures: int) -> Parking:
    if failures >= handler.attempts:
        reason = f"{outcome.reason} (attempt {failures} of {handler.attempts})"
        return Parking(delivery.change, "dead", failures, reason=reason, error=delivery.error)
    wish = outcome.after if isinstance(outcome, (Retry, Unavailable)) else None
    delay = backoff(failures) if wish is None else wish
    return Parking(delivery.change, "due", failures, delay, outcome.reason, delivery.error)


def run_ends(deliveries: Iterable[Delivery], settlement: Settlement) -> list[RunEnd]:
    """The outcome of each run of a batch, for hearken.runs."""
    parked = {parking.change.id: parking.state for parking in settlement.parkings}
    return [
        RunEnd(
            delivery.change,
            _run_state(delivery, parked.get(delivery.change.id)),
            delivery.started_at,
            delivery.result,
            None if delivery.outcome is None else delivery.outcome.reason,
        )
        for delivery in deliveries
    ]


def _run_state(delivery: Delivery, parked: str | None) -> str:
    if parked is None:
        return "skipped" if isinstance(delivery.outcome, Skip) else "succeeded"
    if parked == "dead":
        return "dead"
    return "waiting" if delivery.attempted else "queued"
