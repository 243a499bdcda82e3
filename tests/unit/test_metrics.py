"""What a batch adds to the figures, and that it adds up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from worker.change import Change
from worker.declare.handler import Handler
from worker.declare.registry import Registry
from worker.deliver.call import Delivery
from worker.deliver.parked import Parking
from worker.deliver.report import Report, report_batch
from worker.deliver.settle import settle
from worker.outcomes import Park, Retry, Skip
from worker.telemetry.histogram import Distribution
from worker.telemetry.metrics import SECONDS, Metrics

AT = datetime(2026, 1, 1, tzinfo=UTC)


def a_handler() -> Handler:
    registry = Registry()

    @registry.on("public.things")
    async def note(change: Change, ctx: object) -> None:
        """Nothing."""

    return registry.handlers["note"]


def a_change(number: int, attempt: int = 1) -> Change:
    return Change(id=number, at=AT, topic="public.things", op="update", key=str(number), attempt=attempt)


def a_delivery(number: int, outcome: Park | Retry | Skip | None = None, *, after: float, attempt: int = 1) -> Delivery:
    """A delivery that started `after` seconds after its event was captured."""
    started_at = (AT + timedelta(seconds=after)).timestamp()
    return Delivery(a_change(number, attempt), outcome, started_at=started_at)


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"hearken_{name}", {"handler": "note", **labels})


def test_a_distribution_says_what_the_librarys_histogram_says() -> None:
    """Bound for bound, on values at, between and beyond the bounds."""
    values = [0.0, 0.0005, 0.001, 0.0011, 0.3, 3600.0, 3600.1, 1e9]
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    distribution = Distribution("x_seconds", "text", SECONDS)
    ours.register(distribution)
    histogram = Histogram("x_seconds", "text", ["handler"], buckets=SECONDS, registry=theirs).labels("note")
    distribution.of("note").add(values[:3])
    distribution.of("note").add(values[3:])
    for value in values:
        histogram.observe(value)
    without_created = [line for line in generate_latest(theirs).decode().splitlines() if "_created" not in line]
    assert generate_latest(ours).decode().splitlines() == without_created


def test_series_exist_at_zero_before_anything_happens() -> None:
    """An alert on a counter that is not there never fires."""
    metrics = Metrics()
    metrics.of("note")
    assert sample(metrics, "dead_total") == 0
    assert sample(metrics, "commit_to_handler_seconds_count") == 0


def test_a_batch_adds_up() -> None:
    """Each event is delivered, parked or dead, once; first attempts alone count for the latency."""
    metrics, handler = Metrics(), a_handler()
    deliveries = [
        a_delivery(1, after=0.003),
        a_delivery(2, Skip("nothing to do"), after=0.003),
        a_delivery(3, Park("no good"), after=0.003),
        a_delivery(4, Retry("not yet"), after=0.003),
        a_delivery(5, after=300, attempt=2),
        Delivery(a_change(6), attempted=False),
    ]
    settlement = settle(handler, deliveries, circuit_open=False)
    report_batch(Report(deliveries, settlement, held=7), handler, metrics.of("note"))
    assert sample(metrics, "delivered_total") == 3
    assert sample(metrics, "failed_total") == 2
    assert sample(metrics, "dead_total") == 1
    assert sample(metrics, "parked_total") == 2 + 7
    assert sample(metrics, "batch_events_sum") == 6
    assert sample(metrics, "commit_to_handler_seconds_count") == 4
    assert sample(metrics, "commit_to_handler_seconds_bucket", le="0.002") == 0
    assert sample(metrics, "commit_to_handler_seconds_bucket", le="0.005") == 4


def test_a_clock_behind_the_servers_makes_no_negative_latency() -> None:
    """The worker's clock and the server's differ: what seems to come from the future took no time."""
    metrics, handler = Metrics(), a_handler()
    deliveries = [a_delivery(1, after=-5)]
    report_batch(Report(deliveries, settle(handler, deliveries, circuit_open=False)), handler, metrics.of("note"))
    assert sample(metrics, "commit_to_handler_seconds_sum") == 0


def test_a_batch_of_held_events_alone_is_no_delivery() -> None:
    """Nothing was called: they are parked, and that is all."""
    metrics, handler = Metrics(), a_handler()
    settlement = settle(handler, [], circuit_open=False)
    settlement.parkings.append(Parking(a_change(1), "held", 0))
    report_batch(Report([], settlement), handler, metrics.of("note"))
    assert sample(metrics, "parked_total") == 1
    assert sample(metrics, "batch_events_count") == 0
