"""Reports a batch to metrics and the log, once it is committed: before that, it may still be rolled back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from worker.change import Change
from worker.declare.handler import Handler
from worker.deliver.call import Delivery
from worker.deliver.parked import Parking
from worker.deliver.settle import Settlement
from worker.deliver.stretch import Seen
from worker.telemetry.metrics import HandlerMetrics

logger = structlog.get_logger("batch")


@dataclass
class Report:
    """One batch. `held` counts events that were not delivered because they wait behind a parked one of their key."""

    deliveries: Sequence[Delivery]
    settlement: Settlement
    held: int = 0


def report_batch(report: Report, handler: Handler, metrics: HandlerMetrics) -> None:
    """Count everything, and log a line for each event that did not succeed."""
    _count(report, metrics)
    for delivery in report.settlement.skipped:
        logger.info("skipped", **_about(handler, delivery.change), reason=str(delivery.outcome))
    for parking in report.settlement.parkings:
        if parking.state != "held":
            _say_parked(handler, parking)


def report_braked(handler: Handler, seen: Seen) -> None:
    """Log that the brake has stopped the handler, and what a person can do."""
    logger.error(
        "handler braked before delivering anything",
        handler=handler.name,
        reason=str(seen),
        deleted=seen.deleted,
        archived=seen.archived,
        truncated=seen.truncated,
        of_rows=seen.of_rows,
        then=f"fix the rows if they are wrong, then: hearken resume {handler.name} --confirm",
    )


def _count(report: Report, metrics: HandlerMetrics) -> None:
    deliveries, parkings = report.deliveries, report.settlement.parkings
    dead = sum(1 for p in parkings if p.state == "dead")
    metrics.delivered.inc(len(report.settlement.delivered))
    metrics.failed.inc(sum(1 for d in deliveries if d.outcome is not None and d.attempted and not d.outcome.settles))
    metrics.dead.inc(dead)
    metrics.parked.inc(len(parkings) - dead + report.held)
    if deliveries:
        metrics.batch.add((len(deliveries),))
    metrics.latency.add(
        [max(0.0, d.started_at - d.change.at.timestamp()) for d in deliveries if d.started_at and d.change.attempt == 1]
    )


def _say_parked(handler: Handler, parking: Parking) -> None:
    say = logger.error if parking.state == "dead" else logger.warning
    delay = round(parking.delay, 1)
    say(parking.state, **_about(handler, parking.change), reason=parking.reason, failures=parking.attempt, delay=delay)


def _about(handler: Handler, change: Change) -> dict[str, object]:
    return {"handler": handler.name, "event_id": change.id, "key": change.key, "attempt": change.attempt}
